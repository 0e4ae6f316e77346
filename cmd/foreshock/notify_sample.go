package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/notify/library"
	"github.com/foreshock/foreshock/internal/spelling"
)

func notifyTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Send a sample notice to a channel, and say what happened",
		Long: `Sends one made-up notice to a channel of the configuration, once, as the agent
would, and says what came of it. No agent need run. The notice says that it is
a test. Ends with code 0 when the receiver took it, with 1 when not.

--print shows what would be sent, and sends nothing.`,
		Example: `  foreshock notify test oncall
  foreshock notify test oncall --config new.yaml --print`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{fmt.Errorf("notify test takes the name of one channel, got %q", args)}
			}
			return nil
		},
	}
	file := cmd.Flags().StringP("config", "c", "", "configuration file (default "+defaultConfig+" when it is there)")
	show := cmd.Flags().Bool("print", false, "show what would be sent, and send nothing")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	cmd.ValidArgsFunction = completeChannel(file)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, path, err := loadConfig(*file)
		if err != nil {
			return err
		}
		if err := agent.Templates(cfg, path); err != nil {
			return err
		}
		orderly(cmd)
		log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
		channel, host, err := oneChannel(cfg, args[0], log)
		if err != nil {
			return err
		}
		sample := notify.Sample(channel.Name, time.Now())
		sample.Host, sample.Labels = host.Host, host.Labels
		if host.PublicURL != "" {
			sample.Link = host.PublicURL + "/"
		}
		if *show {
			return printSample(cmd.OutOrStdout(), &channel, &sample)
		}
		began := time.Now()
		results := notify.Try(cmd.Context(), &channel, &sample)
		failed := 0
		for _, r := range results {
			to := channel.Kind()
			if r.Receiver != "" {
				to += " " + r.Receiver
			}
			if r.Err != nil {
				failed++
				fmt.Fprintf(cmd.OutOrStdout(), "%s (%s): not delivered: %v\n", channel.Name, to, r.Err)
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s (%s): delivered, after %s\n", channel.Name, to, time.Since(began).Round(time.Millisecond))
		}
		if failed > 0 {
			return exit{exitError}
		}
		return nil
	}
	return cmd
}

// oneChannel makes one channel of a configuration ready to send, and says what
// its notices call this host. The secrets of the others are not read.
func oneChannel(cfg config.Config, name string, log *slog.Logger) (notify.Channel, notify.Config, error) {
	at := slices.IndexFunc(cfg.Notify, func(c config.Channel) bool { return c.Name == name })
	if at < 0 {
		names := channelNames(cfg)
		if len(names) == 0 {
			return notify.Channel{}, notify.Config{}, fmt.Errorf("the configuration has no channel: add one under notify:, as foreshock config reference shows")
		}
		hint := "the channels are " + strings.Join(names, ", ")
		if near, ok := spelling.Nearest(name, names); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return notify.Channel{}, notify.Config{}, fmt.Errorf("there is no channel %.100q: %s", name, hint)
	}
	cfg.Notify = cfg.Notify[at : at+1]
	channels, err := agent.Channels(cfg, log)
	if err != nil {
		return notify.Channel{}, notify.Config{}, err
	}
	return channels.Channels[0], channels, nil
}

// completeChannel completes the name of a channel of the configuration in file.
func completeChannel(file *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, _, err := loadConfig(*file)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return channelNames(cfg), cobra.ShellCompDirectiveNoFileComp
	}
}

func channelNames(cfg config.Config) []string {
	var names []string
	for _, c := range cfg.Notify {
		names = append(names, c.Name)
	}
	return names
}

func printSample(w io.Writer, c *notify.Channel, n *notify.Notice) error {
	if c.Webhook != nil {
		body, err := n.JSON()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", body)
		return err
	}
	var template *notify.Template
	if c.Library != nil {
		template = c.Library.Template
	}
	text, err := template.Words(n)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n\n%s\n", text.Title, text.Body)
	return err
}

// notifyDeliverCommand is the agent's own child, see package library.
func notifyDeliverCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "deliver",
		Short:  "Send what comes on standard input; the agent starts it",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return library.Serve(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
