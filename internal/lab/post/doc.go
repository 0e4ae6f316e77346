// Package post plays outages of those who are told: the real agent, a webhook
// that counts what it takes and a real Alertmanager behind a proxy that can be
// down, kills of the agent, and the count of what came.
//
//	result, err := post.Run(ctx, post.Config{Agent: "bin/foreshock", Outage: 10 * time.Minute, Kills: 3}, progress)
//
// All of it is on loopback, and needs no rights. What the agent has in its history
// is the truth: each incident that it opened is to be told once, in order.
package post
