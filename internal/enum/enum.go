// Package enum names the values of small enumerations.
package enum

import "fmt"

// Name is the name of v among names. A value beyond them is what it is and its
// number, as "state_7": a message about a value that should not be says which.
func Name[T ~uint8](v T, what string, names []string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s_%d", what, v)
}
