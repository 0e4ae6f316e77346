package scope

import "testing"

func TestParseReadsWhatStringWrites(t *testing.T) {
	for _, id := range []ID{Host, Rest, Host.In("shop"), {KindService, "web", ""}, {KindBackend, "shop/192.0.2.1:80", "a"}, {KindRegion, "cork", ""}, {KindBackend, "shop/app@file/192.0.2.1:80", ""}, {KindBackend, "shop/app@file/192.0.2.1:80", "a"}} {
		if got, ok := Parse(id.String()); !ok || got != id {
			t.Errorf("Parse(%q) = %v, %t", id, got, ok)
		}
	}
	for _, text := range []string{"", "web", "service/", "zone/x", "@shop", "none/x", "host@"} {
		if got, ok := Parse(text); ok {
			t.Errorf("Parse(%q) = %v, %t", text, got, ok)
		}
	}
}
