package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Where the peers listen inside the world, node_exporter beside the agent or on
// the server's address.
const (
	nodeExporterPort  = "9100"
	blackboxAddress   = "127.0.0.1:9115"
	prometheusAddress = "127.0.0.1:9090"
)

// articleRules are what people run today: a probe that fails or is slow, and
// the thresholds of the workers article on node_exporter's tcpstat, all each
// 15 s. tcpstat counts every socket of the namespace, the listeners' too.
const articleRules = `groups:
- name: peers
  interval: 15s
  rules:
  - {alert: probe_failed, expr: probe_success == 0}
  - {alert: probe_slow, expr: probe_duration_seconds > %[1]g}
  - {alert: close_wait_15, expr: 'node_tcp_connection_states{state="close_wait"} > on(instance) (0.15 * sum by (instance) (node_tcp_connection_states))'}
  - {alert: close_wait_20, expr: 'node_tcp_connection_states{state="close_wait"} > on(instance) (0.20 * sum by (instance) (node_tcp_connection_states))'}
  - {alert: established_60, expr: 'node_tcp_connection_states{state="established"} < on(instance) (0.60 * sum by (instance) (node_tcp_connection_states))'}
  - {alert: established_half_of_usual, expr: 'node_tcp_connection_states{state="established"} < 0.5 * quantile_over_time(0.5, node_tcp_connection_states{state="established"}[1h])'}
  - {alert: acceptance_minus_30, expr: 'rate(node_netstat_Tcp_PassiveOpens[30s]) < 0.7 * rate(node_netstat_Tcp_PassiveOpens[30s] offset 30s)'}
`

const prometheusConfig = `global: {scrape_interval: 15s, evaluation_interval: 15s}
rule_files: [%[1]q]
scrape_configs:
- job_name: node
  static_configs: [{targets: ["%[2]s:%[3]s"]}]
- job_name: probe
  metrics_path: /probe
  params: {module: [http_2xx], target: [%[4]q]}
  static_configs: [{targets: [%[5]q]}]
`

// peers are the programs that people watch a server with today, beside the
// agent: blackbox_exporter and Prometheus on the client's host, node_exporter
// on the server's.
type peers struct {
	programs   []*lab.Program // Prometheus is the last
	prometheus *http.Client
}

// startPeers starts them; probe is what blackbox_exporter asks for, slow from
// when on an answer is slow. A program that is missing is a *lab.ErrMissing.
func startPeers(ctx context.Context, server, client *lab.Host, dir, probe string, slow time.Duration) (*peers, error) {
	write := func(name, text string) (string, error) {
		file := filepath.Join(dir, name)
		return file, os.WriteFile(file, []byte(text), 0o644)
	}
	rules, err := write("rules.yml", fmt.Sprintf(articleRules, slow.Seconds()))
	if err != nil {
		return nil, fmt.Errorf("start peers: %w", err)
	}
	config, err := write("prometheus.yml", fmt.Sprintf(prometheusConfig, rules, server.Addr(), nodeExporterPort, probe, blackboxAddress))
	if err != nil {
		return nil, fmt.Errorf("start peers: %w", err)
	}
	p := &peers{prometheus: client.Client()}
	keep := func(program *lab.Program, err error) error {
		if err == nil {
			p.programs = append(p.programs, program)
		}
		return err
	}
	err = errors.Join(
		keep(startPeer(ctx, server, "prometheus-node-exporter", "--collector.disable-defaults", "--collector.tcpstat", "--collector.netstat",
			"--web.listen-address="+server.Addr().String()+":"+nodeExporterPort)),
		keep(startBlackbox(ctx, client, dir)),
		keep(startPeer(ctx, client, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
			"--web.listen-address="+prometheusAddress, "--log.level=error")),
	)
	if err == nil {
		err = p.ready(ctx)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("start peers: %w", err)
	}
	return p, nil
}

// startPeer starts a program whose Debian package is called as it is. One that
// is missing is a *lab.ErrMissing.
func startPeer(ctx context.Context, host *lab.Host, name string, args ...string) (*lab.Program, error) {
	p, err := host.Command(ctx, name, args...).Launch()
	if err != nil {
		return nil, errors.Join(&lab.ErrMissing{Program: name, Package: name}, err)
	}
	return p, nil
}

// startBlackbox starts blackbox_exporter with a configuration in dir.
func startBlackbox(ctx context.Context, host *lab.Host, dir string) (*lab.Program, error) {
	file := filepath.Join(dir, "blackbox.yml")
	if err := os.WriteFile(file, []byte("modules:\n  http_2xx: {prober: http, timeout: 10s}\n"), 0o644); err != nil {
		return nil, err
	}
	return startPeer(ctx, host, "prometheus-blackbox-exporter", "--config.file="+file, "--web.listen-address="+blackboxAddress)
}

// ready waits until Prometheus has seen both of its targets up.
func (p *peers) ready(ctx context.Context) error {
	var up []series
	var asked error
	ready, err := until(ctx, time.Minute, time.Second, func() (bool, error) {
		up, asked = p.query(ctx, "/api/v1/query?query="+url.QueryEscape("sum(up)"))
		return asked == nil && len(up) == 1 && len(up[0].Value) == 2 && up[0].Value[1] == "2", nil
	})
	if err == nil && !ready {
		err = fmt.Errorf("prometheus has not seen its targets after a minute: %v, %w: %s", up, asked, p.programs[len(p.programs)-1].Said())
	}
	return err
}

// series is one of Prometheus's answer.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  []any             `json:"value"`
	Values [][]any           `json:"values"`
}

func (p *peers) query(ctx context.Context, path string) ([]series, error) {
	raw, err := lab.Get(ctx, p.prometheus, "http://"+prometheusAddress+path)
	if err != nil {
		return nil, fmt.Errorf("ask prometheus: %w", err)
	}
	var answer struct {
		Data struct {
			Result []series `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("ask prometheus: %w", err)
	}
	return answer.Data.Result, nil
}

// fired returns when each alert first fired, between from and to, to the
// 5 s at which Prometheus is asked; one that fires already counts as from.
func (p *peers) fired(ctx context.Context, from, to time.Time) (map[string]time.Time, error) {
	q := url.Values{"query": {`ALERTS{alertstate="firing"}`}, "step": {"5"}}
	q.Set("start", strconv.FormatInt(from.Unix(), 10))
	q.Set("end", strconv.FormatInt(to.Unix()+1, 10))
	found, err := p.query(ctx, "/api/v1/query_range?"+q.Encode())
	if err != nil {
		return nil, err
	}
	out := map[string]time.Time{}
	for _, s := range found {
		if len(s.Values) == 0 || len(s.Values[0]) != 2 {
			continue
		}
		seconds, ok := s.Values[0][0].(float64)
		at := time.UnixMilli(int64(seconds * 1000))
		name := s.Metric["alertname"]
		if was, known := out[name]; ok && (!known || at.Before(was)) {
			out[name] = at
		}
	}
	return out, nil
}

func (p *peers) stop() {
	for _, program := range p.programs {
		_ = program.End(os.Kill)
	}
	p.prometheus.CloseIdleConnections()
}
