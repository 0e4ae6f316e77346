package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/spelling"
)

func respondTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test NAME|FILE",
		Short: "Run one hook by hand, and say what it got and said",
		Long: `Runs a hook once, as the agent would: the one that the configuration calls NAME,
or the program in FILE. It gets a made-up incident, or with --incident a real
one of the agent's, and its input says that this is a trial. It runs as you, not
as the agent's user, and what it changes is changed: --dry-run only shows what
it would get.

Ends with code 0 when the hook was done, with 1 when it failed.`,
		Example: `  foreshock respond test add-workers --dry-run
  foreshock respond test ./add-workers.sh --incident 17`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{fmt.Errorf("respond test takes one hook, got %q", args)}
			}
			return nil
		},
	}
	a := agentFlags(cmd, false)
	output := outputFlag(cmd)
	incident := cmd.Flags().Uint64("incident", 0, "the agent's incident of that number, in place of a made-up one")
	dry := cmd.Flags().Bool("dry-run", false, "show what the hook would get, and start nothing")
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, _, err := loadConfig(*a.file)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return hookNames(cfg), cobra.ShellCompDirectiveDefault // or a file
	}
	_ = cmd.RegisterFlagCompletionFunc("incident", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		cfg, path, err := loadConfig(*a.file)
		if err != nil {
			return err
		}
		h, err := hookOf(cfg, args[0])
		if err != nil {
			return err
		}
		if _, err := agent.CheckResponses(cfg, path); err != nil {
			return err
		}
		about, err := aboutIncident(cmd.Context(), a, *incident)
		if err != nil {
			return err
		}
		orderly(cmd)
		trial, err := agent.TryHook(cmd.Context(), cfg, h, about, *dry)
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), trial)
		} else {
			err = writeTrial(cmd.OutOrStdout(), trial)
		}
		if err != nil {
			return err
		}
		if trial.State == "failed" {
			return exit{exitError}
		}
		return nil
	}
	return cmd
}

// aboutIncident is what the hook is told of: an incident of the agent, or one
// that is made up.
func aboutIncident(ctx context.Context, a theAgent, id uint64) (raw json.RawMessage, err error) {
	if id == 0 {
		return agent.SampleIncident(time.Now())
	}
	return raw, a.call(ctx, "GET", fmt.Sprintf("/api/v1/incidents/%d", id), nil, &raw)
}

// hookOf finds a hook: what has a slash in it is a file.
func hookOf(cfg config.Config, name string) (config.Hook, error) {
	if strings.Contains(name, "/") {
		path, err := filepath.Abs(name)
		if err != nil {
			return config.Hook{}, fmt.Errorf("find %s: %w", name, err)
		}
		return config.Hook{Name: filepath.Base(path), Exec: []string{path}, Timeout: config.DefaultHookTimeout}, nil
	}
	for _, r := range cfg.Respond {
		for _, s := range r.Steps {
			if s.Hook != nil && s.Hook.Name == name {
				return *s.Hook, nil
			}
		}
	}
	names := hookNames(cfg)
	hint := "the configuration has none; name a file as ./" + name
	if len(names) > 0 {
		hint = "the hooks are " + strings.Join(names, ", ") + "; name a file as ./" + name
	}
	if near, ok := spelling.Nearest(name, names); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return config.Hook{}, fmt.Errorf("there is no hook %.100q: %s", name, hint)
}

func hookNames(cfg config.Config) []string {
	var out []string
	for _, r := range cfg.Respond {
		for _, s := range r.Steps {
			if s.Hook != nil {
				out = append(out, s.Hook.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// writeTrial prints what the hook got, what it said, and how it ended.
func writeTrial(out io.Writer, t agent.Trial) error {
	runs := strings.Join(t.Command, " ")
	if t.Webhook != "" {
		runs = "a webhook on " + t.Webhook
	}
	var input strings.Builder
	e := json.NewEncoder(&input)
	e.SetIndent("", "  ")
	if err := e.Encode(t.Input); err != nil {
		return fmt.Errorf("write what the hook got: %w", err)
	}
	if _, err := fmt.Fprintf(out, "hook %s: %s\n\nit gets:\n%s", t.Hook, runs, input.String()); err != nil {
		return err
	}
	if t.State != "dry_run" {
		said := "it said nothing\n"
		if t.OutputBytes > 0 {
			said = "it said:\n" + strings.TrimSuffix(t.Output, "\n") + "\n"
		}
		if _, err := fmt.Fprintf(out, "\n%s", said); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\n%s: %s\n", strings.ReplaceAll(t.State, "_", " "), t.What)
	return err
}
