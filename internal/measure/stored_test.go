package measure

import (
	"hash/fnv"
	"testing"
)

// TestSignalsKeepTheirNumbers: what is stored outlives the program.
func TestSignalsKeepTheirNumbers(t *testing.T) {
	const (
		released = 91 // of stored; none of them may change
		want     = 0x17e4de1214aa7fb
	)
	sum := fnv.New64a()
	for _, sig := range stored[:released] {
		_, _ = sum.Write([]byte(sig.String() + "\n"))
	}
	if got := sum.Sum64(); got != want {
		t.Errorf("the first %d signals sum up to %#x, want %#x: what is stored would be read as another signal; append new ones", released, got, uint64(want))
	}
	for _, sig := range Signals() {
		if sig.Stored() < 0 {
			t.Errorf("%s has no number: append it to stored", sig)
		}
		if again, known := StoredSignal(sig.Stored()); !known || again != sig {
			t.Errorf("%s is stored as %d, which is %s", sig, sig.Stored(), again)
		}
	}
}
