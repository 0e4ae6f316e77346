// Package asn says which network an address belongs to, by a database file that
// the user has: GeoLite2-ASN of MaxMind, DB-IP's ASN Lite, IPinfo's, or another
// one in MaxMind's format (https://maxmind.github.io/MaxMind-DB/).
//
//	db, err := asn.Open("/usr/share/GeoIP/GeoLite2-ASN.mmdb")
//	number, network, prefix := db.Lookup(client)
//
// Nothing is fetched: the file is the user's, and kept up to date by him.
package asn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/oschwald/maxminddb-golang/v2"
)

// The bounds of a file and of a name in it.
const (
	MaxSize = 128 << 20 // bytes; GeoLite2-ASN has 11 MB, the largest of IPinfo's 60 MB
	maxName = 100       // runes
	// looked is how many of a database's networks must be without a number that it
	// passes for one of something else.
	looked = 1000
)

// Database is an open database. It is held in memory, all of it, so that a file
// that is overwritten or cut short while it is used harms nothing. All methods
// may be called at the same time from several goroutines.
type Database struct {
	path string

	mu     sync.RWMutex
	reader *maxminddb.Reader
	stamp  stamp // of the file that was read last, whether or not it was any good
	err    error // what was wrong with it
}

// stamp tells whether a file is the one that it was.
type stamp struct {
	inode, device uint64
	size          int64
	changed       time.Time
}

// Open reads a database. The error says what to do.
func Open(path string) (*Database, error) {
	d := &Database{path: path}
	if _, err := d.Reload(); err != nil {
		return nil, err
	}
	return d, nil
}

// Reload reads the file again if it is another one or has changed, and reports
// whether it did. On an error the database stays as it was; the same error comes
// again until the file changes, without its being read.
func (d *Database) Reload() (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// A pipe or a device must not hold up whoever opens it.
	f, err := os.OpenFile(d.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, openError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, openError(err)
	}
	now := stampOf(info)
	if now == d.stamp {
		return false, d.err
	}
	r, err := read(f, info)
	d.stamp, d.err = now, nil
	if err != nil {
		d.err = fmt.Errorf("read the AS numbers in %s: %w", d.path, err)
		return false, d.err
	}
	d.reader = r
	return true, nil
}

func openError(err error) error {
	way := "see whether the agent's user may read it"
	if errors.Is(err, fs.ErrNotExist) {
		way = "give the path of a database in MaxMind's format, such as GeoLite2-ASN.mmdb, or leave it out: then clients are told by their prefix alone"
	}
	return fmt.Errorf("read the AS numbers: %w: %s", err, way)
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), changed: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.device = sys.Ino, uint64(sys.Dev)
	}
	return s
}

func read(f *os.File, info fs.FileInfo) (*maxminddb.Reader, error) {
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file: name the database itself")
	case info.Size() > MaxSize:
		return nil, fmt.Errorf("it has %d MB, and at most %d are read: take a database of AS numbers alone, such as GeoLite2-ASN", info.Size()>>20, MaxSize>>20)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize))
	if err != nil {
		return nil, err
	}
	return parse(data)
}

// parse makes a reader of a file's bytes, which must stay as they are.
func parse(data []byte) (*maxminddb.Reader, error) {
	r, err := maxminddb.OpenBytes(data, maxminddb.DisableStringCache())
	if err != nil {
		return nil, fmt.Errorf("%w: it is no database in MaxMind's format, or was not written to its end: fetch it again", err)
	}
	// Those without data count too: a tree whose branches meet has no end of them.
	seen, all := 0, 0
	for network := range r.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if all++; all > 100*looked {
			break
		}
		if network.Err() == nil && !network.Found() {
			continue
		}
		var x record
		if err := network.Decode(&x); err != nil {
			return nil, fmt.Errorf("%w: it is damaged: fetch it again", err)
		}
		if number, _ := x.said(); number != 0 {
			return r, nil
		}
		if seen++; seen == looked {
			break
		}
	}
	return nil, fmt.Errorf("it has no AS numbers, its type is %q: take a database of AS numbers, such as GeoLite2-ASN", printable(r.Metadata.DatabaseType))
}

// record is what databases say of a network, by whose they are.
type record struct {
	Number       any    `maxminddb:"autonomous_system_number"`       // MaxMind, DB-IP: 64500
	Organisation string `maxminddb:"autonomous_system_organization"` // MaxMind, DB-IP
	ASN          any    `maxminddb:"asn"`                            // IPinfo: "AS64500"
	ASName       string `maxminddb:"as_name"`                        // IPinfo Lite
	Name         string `maxminddb:"name"`                           // IPinfo ASN
}

// said is the number and the name in a record; zero where there is no number.
func (r *record) said() (uint32, string) {
	number := numbered(r.Number)
	if number == 0 {
		number = numbered(r.ASN)
	}
	if number == 0 {
		return 0, ""
	}
	for _, name := range []string{r.Organisation, r.ASName, r.Name} {
		if name = printable(name); name != "" {
			return number, name
		}
	}
	return number, ""
}

// numbered is an AS number, of four bytes (RFC 6793), however it is written.
func numbered(v any) uint32 {
	switch v := v.(type) {
	case uint64:
		if v <= math.MaxUint32 {
			return uint32(v)
		}
	case int32:
		return uint32(max(v, 0))
	case string:
		if n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(v)), "AS"), 10, 32); err == nil {
			return uint32(n)
		}
	}
	return 0
}

// printable is a name on one line, with what does not print replaced.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, " "))
	runes := []rune(strings.Join(strings.Fields(name), " "))
	if len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return string(runes)
}

// Lookup says which autonomous system an address belongs to, what its owner is
// called, and of which prefix that is said. All are zero where the database does
// not know, or is damaged at that place.
func (d *Database) Lookup(a netip.Addr) (asn uint32, network string, prefix netip.Prefix) {
	d.mu.RLock()
	r := d.reader
	d.mu.RUnlock()
	if !a.IsValid() || r == nil {
		return 0, "", netip.Prefix{}
	}
	return lookup(r, a.Unmap().WithZone(""))
}

func lookup(r *maxminddb.Reader, a netip.Addr) (uint32, string, netip.Prefix) {
	result := r.Lookup(a)
	if !result.Found() {
		return 0, "", netip.Prefix{}
	}
	var x record
	if result.Decode(&x) != nil {
		return 0, "", netip.Prefix{}
	}
	number, name := x.said()
	if number == 0 {
		return 0, "", netip.Prefix{}
	}
	return number, name, result.Prefix()
}
