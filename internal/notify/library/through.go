package library

import (
	"net/http"

	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// through has a service send through the guard that made itself a client with a
// transport of its own: gotify, mattermost, ntfy. That also goes through the
// environment's proxy then, and verifies certificates whatever the address says.
func (g *guard) through(service types.Service) {
	switch s := service.(type) {
	case interface{ SetHTTPClient(client *http.Client) }:
		s.SetHTTPClient(&http.Client{Transport: g, Timeout: Timeout})
	case interface{ GetHTTPClient() *http.Client }:
		if client := s.GetHTTPClient(); client != nil {
			client.Transport = g
		}
	}
}
