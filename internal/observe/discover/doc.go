// Package discover turns what listens on a host, who holds it and what the
// user's file names into the services that Foreshock judges.
//
//	services, problems := discover.Services(listeners, owners, configured)
//	index := scope.NewIndex(services)
//
// [Services] is a pure function: the same input in any order gives the same
// services in the same order, and every listener belongs to exactly one.
package discover
