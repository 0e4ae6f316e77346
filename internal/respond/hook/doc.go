// Package hook runs the programs of a response, so that whatever they do holds
// up nothing: programs that never end, fork, or print gigabytes.
//
//	if err := hook.Check(path); err != nil { … } // it is not there, or others may change it
//	result := hook.Exec(ctx, hook.Command{Path: path, Timeout: 20 * time.Second, Input: input, Key: key})
//	if why := result.Failure(); why != "" { … }
//
// It starts no goroutine of its own; Exec blocks until the hook has ended, and
// a few seconds longer than its time-out at most.
package hook
