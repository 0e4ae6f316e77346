package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// theAgents is which agents a command talks to, by its flags: those of --agents,
// or the one that a command of one agent would ask.
type theAgents struct {
	one     theAgent
	several *[]string
}

// mostAgents is how many may be named, and atOnce how many of them are asked at
// the same time.
const (
	mostAgents = 256
	atOnce     = 16
)

// agentsFlags adds the flags that say which agents are asked; changes adds the one
// for their token.
func agentsFlags(cmd *cobra.Command, changes bool) theAgents {
	a := theAgents{
		one:     agentFlags(cmd, changes),
		several: cmd.Flags().StringSlice("agents", nil, "several agents, as https://192.0.2.3:9748,https://192.0.2.4:9748; in place of --agent"),
	}
	_ = cmd.RegisterFlagCompletionFunc("agents", cobra.NoFileCompletions)
	return a
}

// list is each of them once, or what is wrong with the flags.
func (a theAgents) list() ([]theAgent, error) {
	if err := a.one.valid(); err != nil {
		return nil, err
	}
	if len(*a.several) == 0 {
		return []theAgent{a.one}, nil
	}
	if *a.one.address != "" {
		return nil, usage{errors.New("--agent names one agent and --agents several: use one of them")}
	}
	var addresses []string
	for _, text := range *a.several {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
			return nil, usage{fmt.Errorf("--agents %q is no address: write https://192.0.2.3:9748, and a comma between two", text)}
		}
		if address := strings.TrimSuffix(text, "/"); !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	if len(addresses) > mostAgents {
		return nil, usage{fmt.Errorf("--agents names %d: ask %d at most", len(addresses), mostAgents)}
	}
	out := make([]theAgent, 0, len(addresses))
	for _, address := range addresses {
		one := a.one
		one.address = &address
		out = append(out, one)
	}
	return out, nil
}

// answer is what one agent said, or why it did not.
type answer[T any] struct {
	from string // its address; empty for one that was not named
	said T
	err  error
}

// askEach asks all of them at once. The answers are in the agents' order, and each
// has its own error.
func askEach[T any](ctx context.Context, agents []theAgent, ask func(context.Context, theAgent) (T, error)) []answer[T] {
	out := make([]answer[T], len(agents))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, one := range agents {
		group.Go(func() error {
			out[i].from = *one.address
			out[i].said, out[i].err = ask(ctx, one)
			return nil
		})
	}
	_ = group.Wait() // each has its own
	return out
}

// unheard is an agent that did not say what it was asked.
type unheard struct {
	Agent string `json:"agent"`
	Error string `json:"error"`
}

// heard sorts answers into what was said and who said nothing. Where nobody said
// anything, that is the error; of one agent alone it is that one's own.
func heard[T any](answers []answer[T]) (said []answer[T], missing []unheard, err error) {
	missing = []unheard{}
	var all []error
	for _, a := range answers {
		if a.err == nil {
			said = append(said, a)
			continue
		}
		missing = append(missing, unheard{a.from, a.err.Error()})
		all = append(all, named(a.from, a.err, len(answers) > 1))
	}
	if len(said) == 0 {
		return nil, missing, errors.Join(all...)
	}
	return said, missing, nil
}

// named says whose error it is where there are several agents.
func named(from string, err error, several bool) error {
	if !several {
		return err
	}
	return fmt.Errorf("%s: %w", from, err)
}
