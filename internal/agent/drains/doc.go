// Package drains keeps the switches that an agent follows: which there are, who
// said so, how it went since, and what is to be known of them after a restart.
//
//	book := drains.New()
//	book.Configure(now, cfg.Drain)                 // armed, or watched
//	record, err := book.Start(now, offset, request) // by hand
//	host.SetSwitches(book.Switches())
//	for m := range book.Unsaved() { … }             // to the history
//
// A [Book] has no goroutine, clock, file or socket. Times are on the agent's
// steady clock; offset is what makes them the wall's. It is not safe for
// concurrent use.
package drains
