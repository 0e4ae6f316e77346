package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/report"
)

func drainStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Say how far switches are, or all that is known of one",
		Long: `Lists the switches that are followed and how far each is; of one, says who is still
on its old addresses and why, how fast they leave, who arrives nowhere, what each
resolver answers, whether each address has the right application, and whether the
old addresses may be powered off.

With --agents it is one answer of all of them: the times are since the switch, by
each agent's own clock, so the hosts' clocks need not agree. An agent that does not
answer is said, and then nothing is settled.

Ends with 0 where all is settled, with 3 where something is not. In the list, one that
has not been yet is waiting and one that somebody ended is ended: they do not count.`,
		Example: `  foreshock drain status
  foreshock drain status shop.example --agents https://192.0.2.3:9748,https://198.51.100.3:9748
  foreshock drain status shop.example --output json | jq .status.old_share`,
		Args: atMostOne("status takes one name"),
	}
	agents := agentsFlags(cmd, false)
	output := outputFlag(cmd)
	cmd.ValidArgsFunction = completeSwitch(agents)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		list, err := agents.list()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return statusOfAll(cmd, list, asJSON)
		}
		g, err := gatherDrain(cmd.Context(), list, args[0])
		if err != nil {
			return err
		}
		complainOf(cmd.ErrOrStderr(), g.Missing)
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), g)
		} else {
			_, err = io.WriteString(cmd.OutOrStdout(), drainText(&g))
		}
		return cmp.Or(err, settled(g.Status.Verdict))
	}
	return cmd
}

// allSwitches is the JSON of drain status without a name.
type allSwitches struct {
	Drains  []gathered `json:"drains"`
	Missing []unheard  `json:"missing"`
}

func statusOfAll(cmd *cobra.Command, list []theAgent, asJSON bool) error {
	all, missing, err := gatherDrains(cmd.Context(), list)
	if err != nil {
		return err
	}
	complainOf(cmd.ErrOrStderr(), missing)
	var verdicts []drain.Verdict
	for i := range all {
		if all[i].idle() == "" {
			verdicts = append(verdicts, all[i].Status.Verdict)
		}
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), allSwitches{all, missing})
	} else {
		err = writeDrains(cmd.OutOrStdout(), all)
	}
	if err == nil && len(missing) > 0 {
		return exit{exitUnwell} // what they follow is not known
	}
	return cmp.Or(err, settled(verdicts...))
}

// writeDrains prints all switches, a line each.
func writeDrains(out io.Writer, all []gathered) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no switch is followed")
		return err
	}
	rows := [][]string{{"NAME", "VERDICT", "SINCE", "AGENTS", "ON OLD", "NEW ON OLD", "MISSING", "POWER OFF", "SAYS"}}
	for i := range all {
		s := &all[i].Status
		off := "no"
		if s.SafeToPowerOff {
			off = "safe"
		}
		row := []string{
			s.Name, cmp.Or(all[i].idle(), string(s.Verdict)), lasting(s.SinceSeconds), fmt.Sprint(len(s.Agents)),
			percent(s.OldShare), percent(s.OldNewShare), percent(s.Missing), off, s.Sentence,
		}
		for c := range row {
			row[c] = report.Plain(row[c])
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	if err := writeColumns(&b, len(rows[0]), rows); err != nil {
		return err
	}
	_, err := io.WriteString(out, b.String())
	return err
}
