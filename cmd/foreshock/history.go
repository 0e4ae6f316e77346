package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
)

func historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what an agent has kept, and export it",
		Long: `Shows what the history of this host's agent holds: how many incidents, minutes
and raw tallies, of what time, and how many bytes a day. It reads the file
itself, whether the agent runs or not, and changes nothing; it needs the rights
of the user that the agent runs as.

Ends with code 3 when there are problems: a corrupt file that was set aside.`,
		Example: `  foreshock history
  sudo foreshock history export --what incidents --since 7d --format csv`,
	}
	place := historyFlags(cmd)
	output := outputFlag(cmd)
	onlyHelps(cmd, "unknown command %q: use export, or none to see what there is")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		dir, err := place()
		if err != nil {
			return err
		}
		held, err := holds(dir)
		if err != nil {
			return err
		}
		if asJSON {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			err = enc.Encode(held)
		} else {
			err = held.write(cmd.OutOrStdout())
		}
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		if len(held.SetAside) > 0 {
			return exit{exitUnhealthy}
		}
		return nil
	}
	cmd.AddCommand(historyExportCommand())
	return cmd
}

// historyFlags adds the flags that say whose history is meant, and returns what
// finds its directory.
func historyFlags(cmd *cobra.Command) func() (string, error) {
	file := cmd.Flags().StringP("config", "c", "", "the agent's configuration file (default "+defaultConfig+" when it is there)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return historyDirOf(cmd, file)
}

// historyDirOf adds --state-dir, and returns what finds a history's directory by
// that flag or by a configuration file.
func historyDirOf(cmd *cobra.Command, file *string) func() (string, error) {
	state := cmd.Flags().String("state-dir", "", "the agent's state directory (default what the configuration says, or where an agent keeps it)")
	_ = cmd.MarkFlagDirname("state-dir")
	return func() (string, error) {
		if cmd.Flags().Changed("state-dir") {
			return stateDir(*state)
		}
		cfg, _, err := loadConfig(*file)
		if err != nil {
			return "", err
		}
		switch cfg.StateDir {
		case "":
		case config.NoStateDir:
			return "", errors.New("the agent keeps no history: its configuration has state_dir: none")
		default:
			return cfg.StateDir, nil
		}
		if dir := history.FindDir(os.Getenv); dir != "" {
			return dir, nil
		}
		return "", errors.New("there is no history where an agent would keep it: name its directory with --state-dir")
	}
}

// openHistory opens a directory's history for reading.
func openHistory(dir string) (*history.Reader, error) {
	r, err := history.OpenReader(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no history in %s: has an agent run with this directory?", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: read it as the user that the agent runs as, or as root", err)
	case history.Corrupt(err):
		return nil, fmt.Errorf("%w: the agent sets it aside when it starts", err)
	}
	return r, err
}

// held is what a history holds, as JSON has it.
type held struct {
	Path          string  `json:"path"`
	SchemaVersion int     `json:"schema_version"`
	Bytes         int64   `json:"bytes"`
	UsedBytes     int64   `json:"used_bytes"`
	Stocks        []stock `json:"stocks"`
	// SetAside are corrupt files of before.
	SetAside []string `json:"set_aside"`
}

type stock struct {
	What  string     `json:"what"`
	Rows  int64      `json:"rows"`
	From  *time.Time `json:"from"`
	To    *time.Time `json:"to"`
	Bytes int64      `json:"bytes"`
	// BytesPerDay is of the days on which an agent ran; null where it cannot be
	// told.
	BytesPerDay *float64 `json:"bytes_per_day"`
}

func holds(dir string) (held, error) {
	r, err := openHistory(dir)
	if err != nil {
		return held{}, err
	}
	defer r.Close()
	out := held{Path: r.Path, SchemaVersion: r.Version, SetAside: []string{}}
	if out.Bytes, out.UsedBytes, err = r.Size(); err != nil {
		return held{}, err
	}
	stocks, err := r.Stocks()
	if err != nil {
		return held{}, err
	}
	for _, s := range stocks {
		x := stock{What: s.What, Rows: s.Rows, Bytes: s.Bytes}
		if s.Rows > 0 {
			x.From, x.To = &s.From, &s.To
		}
		if perDay := s.PerDay(); perDay > 0 {
			x.BytesPerDay = &perDay
		}
		out.Stocks = append(out.Stocks, x)
	}
	aside, err := history.Aside(dir)
	if err != nil {
		return held{}, err
	}
	out.SetAside = append(out.SetAside, aside...)
	return out, nil
}

func (h *held) write(out io.Writer) error {
	if _, err := fmt.Fprintf(out, "%s, %s, of which %s in use\n\n", h.Path, size(h.Bytes), size(h.UsedBytes)); err != nil {
		return err
	}
	rows := [][]string{{"what", "from", "to", "rows", "size", "a day"}}
	for _, s := range h.Stocks {
		row := []string{strings.ReplaceAll(s.What, "_", " "), "-", "-", strconv.FormatInt(s.Rows, 10), size(s.Bytes).String(), "-"}
		if s.Rows > 0 {
			row[1], row[2] = s.From.Format(time.RFC3339), s.To.Format(time.RFC3339)
		}
		if s.BytesPerDay != nil {
			row[5] = size(*s.BytesPerDay).String()
		}
		rows = append(rows, row)
	}
	if err := writeColumns(out, 3, rows); err != nil {
		return err
	}
	for _, path := range h.SetAside {
		if _, err := fmt.Fprintf(out, "\ncorrupt, and set aside: %s\n", path); err != nil {
			return err
		}
	}
	return nil
}
