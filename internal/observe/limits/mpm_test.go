package limits

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// TestApacheAgrees asks the real Apache, at its check of a configuration, what
// it makes of one whose limits contradict each other.
func TestApacheAgrees(t *testing.T) {
	program, err := exec.LookPath("apache2")
	if err != nil {
		t.Skip("apache2 is not installed")
	}
	corrected := regexp.MustCompile(`MaxRequestWorkers of \d+ .* (?:decreasing|increasing)(?: MaxRequestWorkers)? to (?:nearest multiple )?(\d+)`)
	for _, test := range []struct{ mpm, directives string }{
		{"prefork", "MaxRequestWorkers 500"},
		{"prefork", "ServerLimit 40"},
		{"event", "MaxRequestWorkers 90"},
		{"event", "MaxRequestWorkers 20"},
		{"event", "ThreadsPerChild 64"},
		{"event", "ServerLimit 4"},
		{"event", "ServerLimit 4\nThreadsPerChild 10\nMaxRequestWorkers 100"},
		{"event", "ThreadLimit 7\nThreadsPerChild 100\nMaxRequestWorkers 200"},
		{"worker", "ThreadLimit 10"},
		{"worker", "ServerLimit 3\nThreadsPerChild 20\nMaxRequestWorkers 75"},
	} {
		t.Run(test.mpm+" "+test.directives, func(t *testing.T) {
			dir := t.TempDir()
			conf := filepath.Join(dir, "apache.conf")
			text := fmt.Sprintf("ServerRoot /etc/apache2\nServerName lab.test\nPidFile %[1]s/pid\nDefaultRuntimeDir %[1]s\nErrorLog %[1]s/log\nListen 127.0.0.1:80\n"+
				"LoadModule mpm_%[2]s_module /usr/lib/apache2/modules/mod_mpm_%[2]s.so\n%[3]s\n", dir, test.mpm, test.directives)
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			said, err := exec.CommandContext(t.Context(), program, "-t", "-f", conf).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			all := corrected.FindAllSubmatch(said, -1)
			if len(all) == 0 {
				t.Fatalf("Apache corrected nothing: %s", said)
			}
			want, err := strconv.Atoi(string(all[len(all)-1][1]))
			if err != nil {
				t.Fatal(err)
			}
			m := newTree(t, "", map[string]string{"my.conf": text})
			m.run(fakeProcess{pid: 100, comm: "apache2", exe: "/usr/sbin/apache2", args: []string{"apache2", "-f", "/my.conf"}})
			if got, _, _ := Of(m.proc, 100, "apache2", "", nil); got.Limit != want {
				t.Errorf("%+v, Apache says %d:\n%s", got, want, said)
			}
		})
	}
}
