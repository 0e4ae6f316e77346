package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/notify/notifytest"
)

// startPrometheus starts a real one on loopback that scrapes each second what a
// scrape_configs says, for as long as the test runs, and returns its address.
func startPrometheus(t *testing.T, scrapes string) string {
	t.Helper()
	rules, err := filepath.Abs("../../deploy/prometheus/foreshock.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := notifytest.StartPrometheus(t.TempDir(), fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
%s
`, rules, scrapes))
	labtest.Need(t, err)
	t.Cleanup(func() {
		if said := p.Stop(); t.Failed() {
			t.Logf("Prometheus said:\n%s", said)
		}
	})
	return p.URL()
}

// seriesOf is how many series a query gives; 0 while there is no answer.
func seriesOf(address, query string) int {
	resp, err := http.Get(address + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0 // it is starting
	}
	defer resp.Body.Close()
	var answer struct{ Data struct{ Result []any } }
	_ = json.NewDecoder(resp.Body).Decode(&answer)
	return len(answer.Data.Result)
}

// TestRealPrometheus scrapes a real agent: it is up, its incidents are series, and
// the rules that we ship make an alert of them.
func TestRealPrometheus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	// Its own namespace alone: other labs of this machine have hosts too.
	write(t, file, `observe: {namespaces: host}
rules:
  - {name: always, when: host.passive_opens_per_second >= 0, hold: 0s, severity: critical}
  - {name: ever, when: host.passive_opens_per_second >= 0, hold: 0s, severity: critical}
`)
	agent, _ := running(t, Options{Load: from(file), Version: "test"})
	address := startPrometheus(t, fmt.Sprintf("scrape_configs: [{job_name: foreshock, static_configs: [{targets: [%q]}]}]", agent))
	for _, tt := range []struct {
		query  string
		series int
	}{
		{`up{job="foreshock"} == 1`, 1},
		{`foreshock_incidents{state="open", severity="critical"} >= 2`, 1},
		{`foreshock_incident_open{cause="user_rule", scope="host", rule=~"always|ever"}`, 2},
		{`ALERTS{alertname="ForeshockCritical", rule="always", alertstate="firing"}`, 1},
	} {
		deadline := time.Now().Add(60 * time.Second)
		for n := 0; n != tt.series; n = seriesOf(address, tt.query) {
			if time.Now().After(deadline) {
				t.Fatalf("%s has %d series, want %d; the page is\n%s", tt.query, n, tt.series, body(t, agent, "/metrics"))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// TestPrometheusOfGuardedAgents: a real one reads an agent that asks who reads, by
// each of the two ways of the configuration that we ship, and not without.
func TestPrometheusOfGuardedAgents(t *testing.T) {
	g := newGuarded(t)
	write(t, g.file, g.text(", client_ca: "+g.ca)+"observe: {namespaces: host}\nread_token: {file: "+g.dir+"/read-token}\n")
	base, _ := running(t, Options{Load: from(g.file), Version: "test"})
	target := strings.TrimPrefix(base, "https://")
	shipped, err := os.ReadFile("../../deploy/prometheus/scrape.yaml")
	if err != nil {
		t.Fatal(err)
	}
	scrapes := strings.NewReplacer(
		"/etc/prometheus/foreshock-read-token", g.dir+"/read-token", "/etc/prometheus/foreshock-ca.pem", g.ca, "/etc/prometheus/client.pem", g.cert, "/etc/prometheus/client.key", g.key,
		`"web03.example:9748", "web04.example:9748"`, `"`+target+`"`, `"web05.example:9748"`, `"`+target+`"`,
	).Replace(string(shipped))
	address := startPrometheus(t, scrapes+fmt.Sprintf("  - {job_name: nobody, scheme: https, tls_config: {ca_file: %q}, static_configs: [{targets: [%q]}]}\n", g.ca, target))
	for _, query := range []string{`up{job="foreshock"} == 1`, `up{job="foreshock-by-certificate"} == 1`, `up{job="nobody"} == 0`} {
		for deadline := time.Now().Add(60 * time.Second); seriesOf(address, query) != 1; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s never holds", query)
			}
		}
	}
}
