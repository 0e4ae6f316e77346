// Package nameserver asks DNS servers what the addresses of a name are, one
// server at a time and strictly: what a server says is told apart from what a
// stranger sent, and an answer that is none says why.
//
//	client := nameserver.Client{Dialer: dialer, Now: clock.Now, Onward: system}
//	servers, problems, err := nameserver.System()
//	zone, err := client.Authoritative(ctx, "shop.example", servers)
//	answer := client.Ask(ctx, zone[0], "shop.example")
//
// [Client.Ask] takes ten seconds at most; several may run at once. Nothing here
// starts a goroutine or remembers anything: who is asked when is drain.Plan's,
// what the answers mean drain.Zoo's.
//
// UDP is not in the kernel's TCP table, so that what is asked by UDP is in no
// count; the connections of what is asked by TCP are the dialer's, which leaves
// them out.
package nameserver
