// Package notify turns incidents into notices and delivers them: to our log,
// to signed webhooks, to Alertmanager.
//
// Deciding and doing are apart. A [Planner] is pure: from the incidents of an
// instant and what each channel was told before, it makes the [Notice] values
// to deliver now. An [Outbox] keeps them in one bounded queue per receiver
// until they are delivered, or given up and shown as undelivered. Each queue
// is a [Lane], whose Run the roof starts; a receiver that hangs holds up
// nobody else.
//
//	planner := notify.NewPlanner(cfg)
//	outbox, lanes := notify.NewOutbox(random, cfg.Channels)
//	for _, lane := range lanes {
//		group.Go(func() error { return lane.Run(ctx) })
//	}
//	outbox.Put(planner.Plan(now, offset, incidents)) // each tick
package notify
