package ranges

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The fixtures of testdata are made by hand in the shapes that are published,
// with the addresses of documentation.

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, file string
		which      Select
		want       Ranges
	}{
		{"AWS, a region", "aws.json", Select{Region: "eu-west-1"}, Ranges{AWS, prefixes("192.0.2.0/25", "192.0.2.0/26", "2001:db8:1::/48")}},
		{"AWS, a service of it", "aws.json", Select{"eu-west-1", "EC2"}, Ranges{AWS, prefixes("192.0.2.0/25", "192.0.2.0/26")}},
		{"Google Cloud", "google.json", Select{Region: "europe-west1"}, Ranges{Google, prefixes("198.51.100.0/25", "2001:db8:10::/44")}},
		{"Google Cloud, its one service", "google.json", Select{"us-central1", "Google Cloud"}, Ranges{Google, prefixes("198.51.100.128/25")}},
		{"Azure, a region", "azure.json", Select{Region: "northeurope"}, Ranges{Azure, prefixes("192.0.2.0/25", "192.0.2.16/28", "192.0.2.128/25", "2001:db8:20::/44")}},
		{"Azure, a service of it", "azure.json", Select{"northeurope", "AzureStorage"}, Ranges{Azure, prefixes("192.0.2.16/28")}},
		{"a list", "list.txt", Select{}, Ranges{Text, prefixes("192.0.2.0/24", "198.51.100.0/24", "2001:db8:30::/48")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(read(t, tt.file), tt.which)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	aws := string(read(t, "aws.json"))
	tests := []struct {
		name, data string
		which      Select
		want       string
	}{
		{"no region selected", aws, Select{}, `it is a file of AWS, and no region of it is selected; add select: {region: …}; the regions are GLOBAL, eu-west-1, us-east-1`},
		{"a misspelt region", aws, Select{Region: "eu-west1"}, `it is a file of AWS and has no region "eu-west1"; did you mean "eu-west-1"?`},
		{"a region that is not there", aws, Select{Region: "mars"}, `it is a file of AWS and has no region "mars"; the regions are GLOBAL, eu-west-1, us-east-1`},
		{"a service that is not there", aws, Select{"us-east-1", "S3"}, `it is a file of AWS and has no ranges of the service "S3" in us-east-1; the services there are AMAZON, EC2`},
		{"select for a list", "192.0.2.0/24\n", Select{Region: "x"}, "it is a list of prefixes and not a cloud's file: there is nothing to select from; remove select"},
		{"an empty list", "# nothing\n", Select{}, "it has no prefix; write one prefix a line"},
		{"a list with bits set", "192.0.2.0/24\n192.0.2.7/24\n", Select{}, `line 2 "192.0.2.7/24" has bits set behind its length; write 192.0.2.0/24, or 192.0.2.7/32 for the one address`},
		{"a list with an address", "192.0.2.7\n", Select{}, `line 1 "192.0.2.7" has no length; write 192.0.2.7/32 for this address alone`},
		{"a web page", "<html>not found</html>", Select{}, `line 1 "<html>not found</html>" is no prefix; write an address and a length: 192.0.2.0/24 or 2001:db8::/32`},
		{"cut short", aws[:300], Select{Region: "eu-west-1"}, "it is not the JSON that it begins as: prefixes[1]: unexpected EOF; get it anew: it may have been cut short"},
		{"a prefix that is none", strings.Replace(aws, "192.0.2.0/26", "192.0.2.0-99", 1), Select{Region: "eu-west-1"}, `prefixes[2].ip_prefix "192.0.2.0-99" is no prefix; write an address and a length: 192.0.2.0/24 or 2001:db8::/32`},
		{"other JSON", `{"a": [1, {"prefixes": []}]}`, Select{Region: "x"}, "it is JSON without prefixes and without values; name a file as AWS, Google Cloud or Azure publish them, or one prefix a line"},
		{"prefixes that are no list", `{"prefixes": {}}`, Select{Region: "x"}, "it is not the JSON that it begins as: prefixes is no list; get it anew: it may have been cut short"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.data), tt.which)
			if _, ok := errors.AsType[*Problem](err); !ok {
				t.Fatalf("Parse = %v, %v; want a *Problem", got, err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseIsBounded(t *testing.T) {
	if _, err := Parse(make([]byte, MaxSize+1), Select{}); err == nil {
		t.Error("a file that is too large was read")
	}
	var b strings.Builder
	list := func(n int) []byte {
		b.Reset()
		for i := range n {
			fmt.Fprintf(&b, "10.%d.%d.%d/32\n", i>>16&255, i>>8&255, i&255)
		}
		return []byte(b.String())
	}
	if r, err := Parse(list(MaxPrefixes), Select{}); err != nil || len(r.Prefixes) != MaxPrefixes {
		t.Errorf("the most prefixes: %d, %v", len(r.Prefixes), err)
	}
	for _, n := range []int{MaxPrefixes + 1, 2*MaxPrefixes + 2} {
		if _, err := Parse(list(n), Select{}); err == nil {
			t.Errorf("%d prefixes were taken", n)
		}
	}
}

// FuzzParse holds that what is returned is sorted, masked, unique and bounded,
// and never beside an error.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"aws.json", "google.json", "azure.json", "list.txt"} {
		data := read(f, name)
		for _, which := range []Select{{}, {Region: "eu-west-1"}, {"northeurope", "AzureStorage"}, {Region: "europe-west1"}} {
			f.Add(data, which.Region, which.Service)
		}
	}
	f.Add([]byte("::ffff:0.0.0.0/96\n0.0.0.0/0"), "", "")
	f.Fuzz(func(t *testing.T, data []byte, region, service string) {
		r, err := Parse(data, Select{region, service})
		if err != nil {
			if len(r.Prefixes) > 0 {
				t.Fatal("prefixes beside an error")
			}
			p, ok := errors.AsType[*Problem](err)
			if !ok || p.What == "" || p.Hint == "" {
				t.Fatalf("not a whole *Problem: %v", err)
			}
			return
		}
		if len(r.Prefixes) == 0 || len(r.Prefixes) > MaxPrefixes || r.Format == NoFormat {
			t.Fatalf("%d prefixes of format %s", len(r.Prefixes), r.Format)
		}
		if !slices.IsSortedFunc(r.Prefixes, netip.Prefix.Compare) || len(slices.Compact(slices.Clone(r.Prefixes))) != len(r.Prefixes) {
			t.Fatal("not sorted, or not unique")
		}
		for _, p := range r.Prefixes {
			if p != p.Masked() || !p.IsValid() || p.Addr().Is4In6() {
				t.Fatalf("%s is not masked, or not folded", p)
			}
		}
	})
}
