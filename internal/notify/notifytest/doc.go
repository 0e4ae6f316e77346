// Package notifytest has receivers of notices for tests and benchmarks: strict
// stand-ins for services that cannot be had here, and a real mail server.
//
// The stand-ins hold to what each service publishes of its API, and refuse what
// it would refuse:
//
//	https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
//	https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
package notifytest
