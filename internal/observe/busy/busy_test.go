package busy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What Linux 6.12 says.
const (
	stat = "4711 (apache2 (x) ) S 1 4711 4711 0 -1 4194560 900 0 0 0 1234 766 0 0 20 0 27 0 500 233472000 5000 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"
	memo = "MemTotal:        8138756 kB\nMemFree:          313432 kB\nMemAvailable:    4096000 kB\nSwapFree:              0 kB\n"
	psi  = "some avg10=12.34 avg60=5.00 avg300=1.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	proc := tree(t, map[string]string{"loadavg": "8.25 4.00 2.50 3/312 4711\n", "meminfo": memo, "pressure/cpu": psi, "pressure/io": "nonsense\n"})
	got, problems := Read(proc)
	want := Load{Average: []float64{8.25, 4, 2.5}, Pressure: map[string]float64{"cpu": 0.1234}, Memory: new(int64(8138756 << 10)), Available: new(int64(4096000 << 10)), SwapFree: new(int64(0))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pressure of memory: this kernel does not measure it", `pressure of io: no average of 10 s in "nonsense\n"`}, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if got, problems := Read(t.TempDir()); len(problems) != 5 || got.Average != nil {
		t.Errorf("of nothing: %+v, %q", got, problems)
	}
}

func TestReadProcess(t *testing.T) {
	proc := tree(t, map[string]string{"4711/stat": stat, "4711/status": "Name:\tapache2\nVmRSS:\t   12345 kB\n", "4711/fd/0": "", "4711/fd/1": "", "stat": "cpu 1 2\nbtime 1700000000\n"})
	got, err := ReadProcess(proc, 4711)
	if err != nil {
		t.Fatal(err)
	}
	want := Process{Name: "apache2 (x) ", Started: time.Unix(1700000005, 0).UTC(), CPU: 20 * time.Second, Threads: 27, RSS: new(int64(12345 << 10)), OpenFiles: new(2)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ReadProcess(proc, 4712); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that has ended: %v", err)
	}
	live, err := ReadProcess("/proc", os.Getpid())
	if err != nil || live.Threads < 1 || live.RSS == nil || live.OpenFiles == nil || time.Since(live.Started) < -time.Minute || !strings.HasPrefix(filepath.Base(os.Args[0]), live.Name[:4]) {
		t.Errorf("this very process: %+v, %v", live, err)
	}
}

// FuzzParse: what the kernel never wrote gives an error and no nonsense.
func FuzzParse(f *testing.F) {
	for _, text := range []string{stat, memo, psi, "8.25 4.00 2.50 3/312 4711\n", "btime 1700000000\n", "1 () S", "-1 NaN 3"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, started, err := parseStat(text); err == nil && (p.CPU < 0 || p.Threads < 0 || started < 0) {
			t.Errorf("%+v %s", p, started)
		}
		if share, err := parsePressure(text); err == nil && !(share >= 0 && share <= 1) {
			t.Errorf("a share of %g", share)
		}
		if all, err := parseAverages(text); err == nil && (len(all) != 3 || all[0] < 0) {
			t.Errorf("averages %v", all)
		}
		if n := kilobytes(text, "MemTotal"); n != nil && *n < 0 {
			t.Errorf("%d bytes", *n)
		}
		bootTime(text)
	})
}
