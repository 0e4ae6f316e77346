// Package history keeps what is to outlive the agent, in one SQLite file of
// its state directory: raw tallies, minutes and hours as encoded by others,
// incidents as the API spells them, notices on their way, what was left out of
// learning, and who changed what.
//
//	store, err := history.Open(dir, history.Config{…})
//	err = store.Batch(func() error { return store.PutIncidents(changed) })
//	more, err := store.Retain() // one small step, when nothing else is to be done
//	err = store.Close()
//
// A [Store] is the one writer of its directory, which it locks; a [Reader]
// reads beside it, or when no agent runs. Neither is safe for concurrent use.
//
// What was written is there when the call returns: it survives the end of the
// process at any instant, and as every transaction is flushed to the disk
// (synchronous=FULL) also that of the machine, if the disk keeps its word.
//
// Times are the wall clock's, and may step. Nothing that is deleted is chosen
// by them: rows are read in the order in which they were written, and their age
// is counted in the time that agents ran since (see [Store.Retain]).
package history
