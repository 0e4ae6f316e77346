package scope

import "strings"

// Parse reads what String writes: "service/web", "backend/shop/s1@shop", "host".
// A name with an @ in it needs its namespace behind, as String gives it.
func Parse(text string) (id ID, ok bool) {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text, id.Namespace = text[:at], text[at+1:]
	}
	switch text {
	case Host.Name:
		return Host.In(id.Namespace), true
	case Rest.Name:
		return Rest.In(id.Namespace), true
	}
	kind, name, found := strings.Cut(text, "/")
	if !found || name == "" {
		return ID{}, false
	}
	for k := KindService; k <= KindAddress; k++ {
		if k.String() == kind {
			return ID{Kind: k, Name: name, Namespace: id.Namespace}, true
		}
	}
	return ID{}, false
}
