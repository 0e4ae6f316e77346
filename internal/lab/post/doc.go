// Package post plays outages of those who are told: the real agent; a webhook
// that counts what it takes and a real Alertmanager behind a proxy that can be
// down; a real mail server and strict stand-ins for Slack and PagerDuty, each
// out of order in more than one way; kills of the agent; and the count of what
// came.
//
//	result, err := post.Run(ctx, post.Config{Agent: "bin/foreshock", Outage: 10 * time.Minute, Kills: 3}, progress)
//
// All of it is on loopback. The mail server takes root; without, and where it is
// not installed, it is left out, and progress says so. What the agent has in its
// history is the truth: each incident that it opened is to be told once, in order.
package post
