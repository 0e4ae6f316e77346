package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// writeMarkdown prints rows as a Markdown table, the first as its head.
func writeMarkdown(out io.Writer, rows [][]string) error {
	for i, row := range rows {
		lines := "| " + strings.Join(row, " | ") + " |"
		if i == 0 {
			lines += "\n|" + strings.Repeat("---|", len(row))
		}
		if _, err := fmt.Fprintln(out, lines); err != nil {
			return err
		}
	}
	return nil
}

// writeColumns prints rows in columns as wide as their widest cell, two blanks
// apart: the first left ones flush left, the numbers behind them flush right.
func writeColumns(out io.Writer, left int, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < left {
				b.WriteString(cell + pad + "  ")
			} else {
				b.WriteString(pad + cell + "  ")
			}
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
