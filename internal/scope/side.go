package scope

import "strings"

// SideOf reads the scope of one side of a switch as Switch.ID names it; false
// for any other scope.
func SideOf(id ID) (name string, side Side, ok bool) {
	if id.Kind != KindAddress {
		return "", 0, false
	}
	for _, side := range []Side{OldSide, NewSide} {
		if name, is := strings.CutSuffix(id.Name, "/"+side.String()); is && name != "" {
			return name, side, true
		}
	}
	return "", 0, false
}
