package scope

import "testing"

// TestSideOf: what Switch.ID names is read again, and nothing else is.
func TestSideOf(t *testing.T) {
	s := Switch{Name: "shop.example"}
	tests := []struct {
		id   ID
		name string
		side Side
		ok   bool
	}{
		{s.ID(OldSide, ""), "shop.example", OldSide, true},
		{s.ID(NewSide, "pod"), "shop.example", NewSide, true},
		{ID{Kind: KindAddress, Name: "shop.example"}, "", 0, false},
		{ID{Kind: KindAddress, Name: "/old"}, "", 0, false},
		{ID{Kind: KindBackend, Name: "shop/old"}, "", 0, false},
	}
	for _, tt := range tests {
		if name, side, ok := SideOf(tt.id); name != tt.name || side != tt.side || ok != tt.ok {
			t.Errorf("%s: %q %s %v, want %q %s %v", tt.id, name, side, ok, tt.name, tt.side, tt.ok)
		}
	}
}
