// Package spelling guesses which word was meant.
package spelling

import "strings"

// Nearest returns the word of words that was most likely meant by key: the
// one fewest slips away, if that is at most a third of the key, or the only
// one that the key begins. It is false when there is none.
func Nearest(key string, words []string) (string, bool) {
	const longest = 60 // no word is as long
	if len(key) > longest {
		return "", false
	}
	low := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	best, at := "", max(1, len(low)/3)+1
	for _, w := range words {
		if d := Slips(low, w); d < at {
			best, at = w, d
		}
	}
	if best != "" || len(low) < 3 {
		return best, best != ""
	}
	for _, w := range words {
		if strings.HasPrefix(w, low) || strings.HasPrefix(low, w) {
			if best != "" {
				return "", false
			}
			best = w
		}
	}
	return best, best != ""
}

// Slips is the number of letters added, left out, changed, or swapped with
// their neighbour between a and b (the optimal string alignment distance).
func Slips(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
