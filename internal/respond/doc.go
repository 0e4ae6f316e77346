// Package respond decides what is done about incidents, and when: the timed
// workflow of the workers article. It is pure; the roof does what it decides.
//
// A workflow belongs to one scope and one key of the configuration: a cause, a
// pattern, or "default". It begins when the first incident of a warning or
// worse opens there, goes on while any is open, and takes each of its steps at
// its time: tell somebody, gather evidence, run a hook, look again, escalate.
//
//	planner := respond.New(cfg)
//	planner.Restore(now, offset, memories)     // once, after a restart
//	actions := planner.Plan(respond.Look{…})   // each tick; nothing has happened yet
//	memories, records := planner.Changed()     // to be kept before anything is done
//
// What an action brought comes back with a later Look, as an [Outcome].
package respond
