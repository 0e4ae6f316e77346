// Package api serves what the agent knows, as JSON over HTTP.
//
// [New] returns a handler over a [Source] of snapshots. Reads are open; calls
// that change something go to an [Actor] and need the bearer token. Live
// updates are server-sent events. openapi.yaml, which the agent serves too,
// describes every answer; a test holds the handlers to it.
//
//	handler, err := api.New(api.Config{Source: agent, Actor: agent, Token: token, Log: log})
//	server := api.NewHTTPServer(handler, log)
package api
