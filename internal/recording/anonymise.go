package recording

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// KeySize is how long an Anonymiser's key is, in bytes.
const KeySize = 32

// NewKey returns a key that nobody has had.
func NewKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // it never fails: crypto/rand
	return key
}

// KeyFile returns the key in a file, in hex, and makes the file where there is
// none: then made is true. A file that others may read is refused.
func KeyFile(path string) (key []byte, made bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		key = NewKey()
		_, err = f.WriteString(hex.EncodeToString(key) + "\n")
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, false, fmt.Errorf("write a key: %w", err)
		}
		return key, true, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, false, fmt.Errorf("make a key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, fmt.Errorf("read a key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, false, fmt.Errorf("read a key: others may read %s: chmod 600 it, or use another file", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, false, fmt.Errorf("read a key: %w", err)
	}
	if key, err = hex.DecodeString(strings.TrimSpace(string(raw))); err != nil || len(key) != KeySize {
		return nil, false, fmt.Errorf("read a key: %s does not hold one, %d hexadecimal digits: name another file, or one that is not there to have it made", path, 2*KeySize)
	}
	return key, false, nil
}

// Anonymiser puts other addresses and names in the place of those of a
// recording, the same ones each time with the same key.
//
// Addresses that begin alike still do, for as many bits: prefixes stay prefixes.
// Loopback and the unspecified addresses stay what they are, and so does what
// they share with others, as the first bit of IPv4. Ports, numbers and times
// stay. It is not safe for concurrent use.
type Anonymiser struct {
	block4, block6 cipher.Block
	pad4, pad6     [aes.BlockSize]byte
	nameKey        []byte
	names          map[string]string
	tallies        []measure.Tally
}

// NewAnonymiser returns an Anonymiser of a key of KeySize bytes.
func NewAnonymiser(key []byte) (*Anonymiser, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("anonymise: a key of %d bytes, not %d", len(key), KeySize)
	}
	a := &Anonymiser{nameKey: derive(key, "names"), names: map[string]string{}}
	a.block4, a.pad4 = permutation(key, "IPv4")
	a.block6, a.pad6 = permutation(key, "IPv6")
	return a, nil
}

func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

func permutation(key []byte, family string) (block cipher.Block, pad [aes.BlockSize]byte) {
	block, err := aes.NewCipher(derive(key, family))
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	copy(pad[:], derive(key, family+" pad"))
	return block, pad
}

// kept are the prefixes that stay what they are.
var kept = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("::/127")}

// Addr returns the address in an address's place.
//
// Each bit is flipped or not by the bits before it: a pseudo-random function of
// these, which is one bit of AES over them and a secret pad. So two addresses
// that share their first n bits share the first n of what they become, and none
// become the same (Xu, Fan, Ammar, Moon: Prefix-Preserving IP Address
// Anonymization, 2002). On the way to a kept prefix, and within it, none is.
func (a *Anonymiser) Addr(addr netip.Addr) netip.Addr {
	raw := addr.AsSlice()
	block, pad := a.block6, a.pad6
	if addr.Is4() {
		block, pad = a.block4, a.pad4
	}
	var in, out [aes.BlockSize]byte
	in = pad
	flips := make([]byte, len(raw))
	for bit := range 8 * len(raw) {
		at, mask := bit/8, byte(0x80)>>(bit%8)
		if !slices.ContainsFunc(kept, func(p netip.Prefix) bool { return onTheWay(p, raw, bit) }) {
			block.Encrypt(out[:], in[:])
			if out[0]&0x80 != 0 {
				flips[at] |= mask
			}
		}
		in[at] = in[at]&^mask | raw[at]&mask // the next depends on this bit too
	}
	for i := range raw {
		raw[i] ^= flips[i]
	}
	mapped, _ := netip.AddrFromSlice(raw)
	return mapped.WithZone(a.Name(addr.Zone()))
}

// onTheWay reports whether the first so many bits of an address lead to a prefix
// of its family, or are within it.
func onTheWay(p netip.Prefix, raw []byte, bits int) bool {
	of := p.Addr().AsSlice()
	if len(of) != len(raw) {
		return false
	}
	for bit := range min(bits, p.Bits()) {
		if mask := byte(0x80) >> (bit % 8); (of[bit/8]^raw[bit/8])&mask != 0 {
			return false
		}
	}
	return true
}

// Name returns the name in a name's place; what slashes part is each a name.
func (a *Anonymiser) Name(name string) string {
	if name == "" {
		return ""
	}
	if out, known := a.names[name]; known {
		return out
	}
	if len(a.names) == maxTexts {
		clear(a.names)
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if part != "" {
			parts[i] = hex.EncodeToString(derive(a.nameKey, part)[:5])
		}
	}
	a.names[name] = strings.Join(parts, "/")
	return a.names[name]
}

// Header returns what may be said of an anonymised recording.
func (a *Anonymiser) Header(h Header) Header {
	h.Host, h.Anonymised = a.Name(h.Host), true
	labels := make(map[string]string, len(h.Labels))
	for k, v := range h.Labels {
		labels[a.Name(k)] = a.Name(v)
	}
	h.Labels = labels
	return h
}

func (a *Anonymiser) addrPort(p netip.AddrPort) netip.AddrPort {
	if !p.Addr().IsValid() {
		return p
	}
	return netip.AddrPortFrom(a.Addr(p.Addr()), p.Port())
}

func (a *Anonymiser) prefix(p netip.Prefix) netip.Prefix {
	if !p.IsValid() {
		return p
	}
	return netip.PrefixFrom(a.Addr(p.Addr()), p.Bits()).Masked()
}

func (a *Anonymiser) addrPorts(list []netip.AddrPort) []netip.AddrPort {
	return mapped(list, a.addrPort)
}

// id keeps the names that every namespace's host and rest have, and which side
// of a switch it is.
func (a *Anonymiser) id(id scope.ID) scope.ID {
	id.Namespace = a.Name(id.Namespace)
	if side, ok := id.Side(); ok {
		of := scope.Switch{Name: a.Name(strings.TrimSuffix(id.Name, "/"+side.String()))}
		return of.ID(side, id.Namespace)
	}
	if id.Kind != scope.KindHost && id.Kind != scope.KindRest {
		id.Name = a.Name(id.Name)
	}
	return id
}

func (a *Anonymiser) filter(f tcp.Filter) tcp.Filter {
	f.RemotePrefixes, f.LocalPrefixes = mapped(f.RemotePrefixes, a.prefix), mapped(f.LocalPrefixes, a.prefix)
	return f
}

func (a *Anonymiser) group(group string) string {
	if group == scope.RegionGroup {
		return group
	}
	return a.Name(group)
}

func (a *Anonymiser) socket(s tcp.Socket) tcp.Socket {
	s.Local, s.Remote = a.addrPort(s.Local), a.addrPort(s.Remote)
	return s
}

// Step returns the anonymised step, good until the next call. The step it was
// given is left as it is.
func (a *Anonymiser) Step(s measure.Step) measure.Step {
	s.Namespace = a.Name(s.Namespace)
	t := &s.Tallies
	a.tallies = append(a.tallies[:0], t.Scopes...)
	for i := range a.tallies {
		y := &a.tallies[i]
		y.Scope, y.Group = a.id(y.Scope), a.group(y.Group)
		y.Behind, y.Examples = a.addrPorts(y.Behind), mapped(y.Examples, a.socket)
		y.Region = a.Name(y.Region)
		y.Destinations = mapped(y.Destinations, func(d measure.Destination) measure.Destination { d.Remote = a.addrPort(d.Remote); return d })
		y.Prefixes = mapped(y.Prefixes, func(p measure.PrefixHeld) measure.PrefixHeld { p.Prefix = a.prefix(p.Prefix); return p })
	}
	t.Scopes = a.tallies
	t.Look.Request.Filter = a.filter(t.Look.Request.Filter)
	t.Answers = mapped(t.Answers, func(x measure.Answered) measure.Answered { x.Scope = a.id(x.Scope); return x })
	t.Opinions = mapped(t.Opinions, func(o measure.Opinion) measure.Opinion { o.Scope = a.id(o.Scope); return o })
	t.Norms = mapped(t.Norms, func(n measure.Norm) measure.Norm { n.Scope = a.id(n.Scope); return n })
	return s
}

// Frame returns the anonymised frame. The frame it was given is left as it is.
func (a *Anonymiser) Frame(f Frame) Frame {
	f.Namespace, f.Sockets = a.Name(f.Namespace), mapped(f.Sockets, a.socket)
	f.Look.Request.Filter = a.filter(f.Look.Request.Filter)
	f.Ports.Reused = mapped(f.Ports.Reused, a.Addr)
	if f.Scopes != nil {
		s := *f.Scopes
		s.Services, s.Backends, s.Regions = mapped(s.Services, a.service), mapped(s.Backends, a.backend), mapped(s.Regions, a.region)
		s.Switches = mapped(s.Switches, a.switchOf)
		if s.Ports != nil {
			s.Ports = &Ports{s.Ports.Available, mapped(s.Ports.Reused, a.Addr)}
		}
		f.Scopes = &s
	}
	return f
}

// service keeps of a service what tallies are made by, and leaves out what is
// for people: paths, and where a limit came from.
func (a *Anonymiser) service(s scope.Service) scope.Service {
	return scope.Service{
		Name: a.Name(s.Name), Process: a.Name(s.Process), Unit: a.Name(s.Unit), Namespace: a.Name(s.Namespace), Configured: s.Configured,
		Listen: a.addrPorts(s.Listen), V6Only: a.addrPorts(s.V6Only), Descriptors: s.Descriptors,
		Workers: scope.Workers{Software: s.Workers.Software, Held: s.Workers.Held, Limit: s.Workers.Limit, TurnsAway: s.Workers.TurnsAway},
	}
}

func (a *Anonymiser) backend(b scope.Backend) scope.Backend {
	return scope.Backend{
		Name: a.Name(b.Name), Group: a.group(b.Group), Process: a.Name(b.Process), Namespace: a.Name(b.Namespace), Configured: b.Configured,
		Remote: a.addrPort(b.Remote), Behind: a.addrPorts(b.Behind), Also: mapped(b.Also, a.Name), Cgroups: b.Cgroups,
	}
}

func (a *Anonymiser) region(r scope.Region) scope.Region {
	out := scope.Region{Name: a.Name(r.Name), Prefixes: mapped(r.Prefixes, a.prefix), Namespace: a.Name(r.Namespace)}
	slices.SortFunc(out.Prefixes, netip.Prefix.Compare)
	return out
}

func (a *Anonymiser) switchOf(s scope.Switch) scope.Switch {
	s.Name, s.Source = a.Name(s.Name), ""
	for _, list := range []*[]netip.Addr{&s.Old, &s.New, &s.Kept} {
		*list = mapped(*list, a.Addr)
		slices.SortFunc(*list, netip.Addr.Compare)
	}
	return s
}

// mapped returns a list of its own; nil for nil.
func mapped[T any](list []T, to func(T) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i := range list {
		out[i] = to(list[i])
	}
	return out
}
