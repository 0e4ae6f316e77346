package owner

import (
	"os"
	"testing"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// BenchmarkChoose walks the machine's own processes.
func BenchmarkChoose(b *testing.B) {
	all, err := processes.List("/proc")
	if err != nil {
		b.Fatal(err)
	}
	for name, selectors := range map[string][]Selector{
		"balancers":     Balancers(),
		"by name":       {{Name: "postgres"}},
		"by unit":       {{Unit: "haproxy.service"}},
		"all of them":   append(Balancers(), Selector{Name: "postgres"}, Selector{Unit: "haproxy.service"}),
		"who is chosen": {{Cgroup: "/"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Choose("/proc", selectors, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/process")
		})
	}
}

// BenchmarkJoin reads 1,000 descriptors of one process, none of them wanted.
func BenchmarkJoin(b *testing.B) {
	for range 1000 {
		f, err := os.Open("/dev/null")
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
	}
	p, err := see("/proc", os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	c, err := p.describe(openHierarchy("/proc"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, limits := Join("/proc", []Chosen{c}, []uint64{1}, nil); limits != (Limits{}) {
			b.Fatalf("%+v", limits)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/descriptor")
}
