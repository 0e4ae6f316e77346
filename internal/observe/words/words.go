// Package words takes lines of the kernel's text apart, as they stand in files
// of /proc/net. It allocates nothing.
package words

// Cut returns the next run of characters that are not blanks, and what follows
// it; empty when there is none.
func Cut(line []byte) (word, rest []byte) {
	i := 0
	for i < len(line) && line[i] == ' ' {
		i++
	}
	j := i
	for j < len(line) && line[j] != ' ' {
		j++
	}
	return line[i:j], line[j:]
}

// Number reads a decimal number of 64 bits without a sign.
func Number(word []byte) (n uint64, ok bool) {
	if len(word) == 0 {
		return 0, false
	}
	for _, c := range word {
		d := uint64(c) - '0'
		if c < '0' || c > '9' || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// maxShown bounds the part of a wrong input that an error repeats.
const maxShown = 120

// Shown is the beginning of a text, for an error.
func Shown(text []byte) []byte { return text[:min(len(text), maxShown)] }
