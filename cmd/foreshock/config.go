package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/certificate"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/scope"
)

// defaultConfig is read when it is there and no other file is named.
const defaultConfig = "/etc/foreshock/foreshock.yaml"

// loadConfig loads the named file; without a name the default one when it is
// there, else the defaults. path is the file that was read, empty for none.
func loadConfig(named string) (cfg config.Config, path string, err error) {
	if named != "" {
		cfg, err = config.Load(named)
		return cfg, named, err
	}
	cfg, err = config.Load(defaultConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return config.Default(), "", nil
	}
	return cfg, defaultConfig, err
}

// unreadable says which secrets this user cannot read. The agent may be another
// one, so that a configuration is good even so.
func unreadable(cfg config.Config) (errs []error) {
	try := func(key string, s config.Secret) {
		if s.IsZero() {
			return
		}
		if _, err := s.Read(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w; run as this user the agent would refuse this configuration", key, err))
		}
	}
	try("token", cfg.Token)
	try("read_token", cfg.ReadToken)
	if !cfg.TLS.IsZero() {
		if _, err := certificate.Open(cfg.TLS); err != nil {
			errs = append(errs, fmt.Errorf("tls: %w; run as this user the agent would refuse this configuration", err))
		}
	}
	if cfg.Heartbeat != nil {
		try("heartbeat", cfg.Heartbeat.URL)
	}
	for _, c := range cfg.Notify {
		if c.Webhook != nil {
			try("notify "+c.Name, c.Webhook.Secret)
		}
		if c.Library != nil {
			try("notify "+c.Name, c.Library.URL)
		}
	}
	for _, r := range cfg.Respond {
		for _, s := range r.Steps {
			if s.Hook != nil && s.Hook.Webhook != nil {
				try("hook "+s.Hook.Name, s.Hook.Webhook.Secret)
			}
		}
	}
	return errs
}

// prefixesOf says, as comments, how many prefixes each region has.
func prefixesOf(regions []scope.Region) string {
	var b strings.Builder
	for i := range regions {
		r := &regions[i]
		fmt.Fprintf(&b, "# region %s: %s, %s\n", r.Name, count(len(r.Prefixes), "prefix", "prefixes"), r.Source)
	}
	return b.String()
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, document and describe the configuration",
		Long: `Everything in the configuration is optional: without a file the agent finds
what this host serves by itself.`,
		Example: `  foreshock config check /etc/foreshock/foreshock.yaml
  foreshock config reference > foreshock.yaml`,
	}
	onlyHelps(cmd, "unknown command %q: use check, reference or schema")
	cmd.AddCommand(
		&cobra.Command{
			Use:   "check [FILE]",
			Short: "Say whether a configuration is good, and what then holds",
			Long: `Reads a configuration without running anything, and prints every value that
would hold, defaults included. Says all that is wrong with it, by file, line
and column, and ends with code 1 then; a secret that it cannot read is said and
no mistake. Files of ranges are read too, and how many prefixes each region has
is said. Without FILE it reads
` + defaultConfig + `.`,
			Example: `  foreshock config check
  foreshock config check new.yaml && systemctl reload foreshock`,
			Args: atMostOne("config check takes one file"),
			RunE: func(cmd *cobra.Command, args []string) error {
				path := defaultConfig
				if len(args) == 1 {
					path = args[0]
				}
				cfg, err := config.Load(path)
				switch {
				case len(args) == 0 && errors.Is(err, fs.ErrNotExist):
					return fmt.Errorf("there is no %s, so the agent runs with its defaults: name a file to check another", defaultConfig)
				case err != nil:
					return err
				}
				_, warnings, err := agent.Rules(cfg, path)
				if err != nil {
					return err
				}
				if err := agent.Templates(cfg, path); err != nil {
					return err
				}
				regions, err := agent.Regions(cfg, path)
				if err != nil {
					return err
				}
				hooks, err := agent.CheckResponses(cfg, path)
				if err != nil {
					return err
				}
				warnings = append(warnings, hooks...)
				for _, w := range warnings {
					fmt.Fprintln(cmd.ErrOrStderr(), "foreshock: "+w)
				}
				for _, err := range unreadable(cfg) {
					complain(cmd.ErrOrStderr(), err)
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), config.Effective(cfg)+prefixesOf(regions))
				return err
			},
		},
		&cobra.Command{
			Use:   "reference",
			Short: "Print every key with its default and unit",
			Long:  "Prints a configuration in which every key stands with its default, its unit and what it does, all commented out.",
			Example: `  foreshock config reference
  foreshock config reference | grep -A3 cpu_budget`,
			Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := fmt.Fprint(cmd.OutOrStdout(), config.Reference())
				return err
			},
		},
		&cobra.Command{
			Use:   "schema",
			Short: "Print a JSON Schema for editors",
			Long:  "Prints a JSON Schema of the configuration, with which editors complete keys and mark mistakes.",
			Example: `  foreshock config schema > foreshock.schema.json
  foreshock config schema | head`,
			Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				schema, err := config.Schema()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(schema)
				return err
			},
		})
	return cmd
}
