package rule

// nearest returns the word that was most likely meant by name: the one fewest
// letters away, if that is at most a third of the name; empty when there is
// none.
func nearest(name string, words []string) string {
	const longest = 60 // no name is that long
	if len(name) > longest {
		return ""
	}
	best, at := "", max(1, len(name)/3)+1
	for _, w := range words {
		if d := distance(name, w); d < at {
			best, at = w, d
		}
	}
	return best
}

// distance is the number of letters added, left out or changed between a and b
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, change)
		}
	}
	return row[len(b)]
}
