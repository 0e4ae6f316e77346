package limits

import (
	"errors"
	"fmt"
	"strings"
)

// iniLine is a section's name or a key with its value.
type iniLine struct {
	line       int
	section    bool
	key, value string
}

// iniLines splits a file of PHP-FPM's. Comments begin with ";", and with "#"
// at the start of a line as old files have it. PHP: Zend/zend_ini_scanner.l.
func iniLines(data []byte) ([]iniLine, error) {
	var out []iniLine
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == ';' || line[0] == '#':
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			if !ok {
				return nil, fmt.Errorf("line %d: \"[\" without \"]\"", number)
			}
			out = append(out, iniLine{line: number, section: true, key: strings.TrimSpace(name)})
		default:
			key, value, _ := strings.Cut(line, "=")
			value, err := iniValue(strings.TrimSpace(value))
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			out = append(out, iniLine{line: number, key: strings.TrimSpace(key), value: value})
		}
	}
	return out, nil
}

// iniValue takes quotes, or else a comment, off a value.
func iniValue(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if quote := text[0]; quote == '"' || quote == '\'' {
		end := strings.IndexByte(text[1:], quote)
		if end < 0 {
			return "", errors.New("the quote is never closed")
		}
		return text[1 : end+1], nil
	}
	text, _, _ = strings.Cut(text, ";")
	return strings.TrimSpace(text), nil
}
