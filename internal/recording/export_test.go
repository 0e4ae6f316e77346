package recording

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Same compares as the tests of this package do.
var Same = same

// CopyOf is a step that shares no memory with another.
func CopyOf(s measure.Step) measure.Step { return copyOf(s) }

// Unseal and Seal let tests of other packages change what is within a segment
// and seal it again, as somebody who means harm would.
func Unseal(data []byte) (raw []byte, records int, err error) {
	o := newOpener()
	raw, h, err := o.open(data)
	return raw, h.records, err
}

// Seal seals raw as a segment of so many records.
func Seal(raw []byte, records int) []byte {
	s := newSealer()
	return s.seal(raw, time.Unix(1700000000, 0), time.Unix(1700000010, 0), records)
}
