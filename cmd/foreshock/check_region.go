package main

import (
	"fmt"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
)

// maxRegionData bounds the performance data, as maxBackendData does.
const maxRegionData = 10

// regionPerf is of a region. It has no levels: what fails is judged by more than
// one number.
var regionPerf = []perf{
	{measure.Connections, "", "", ";;;0", ""},
	{measure.RetransmittingShare, "", "", ";;;0;1", ""},
	{measure.PendingLateShare, "", "", ";;;0;1", ""},
	{measure.Destinations, "", "", ";;;0", ""},
}

// regions takes the regions, and returns what is said where nothing fails: "2
// regions: 1 answers, 1 no traffic". One that nobody talks to is no reason to
// worry.
func (j *judged) regions(regions []*api.Scope) string {
	answer := 0
	var reasons []string
	silent := map[string]int{}
	for i, s := range regions {
		if i < maxRegionData {
			j.data = append(j.data, perfData(s, regionPerf)...)
		}
		if s.Region == nil {
			continue
		}
		switch v := s.Region.Verdict; {
		case v.State == api.StateOK:
			answer++
		case v.Cause != "":
		case v.Reason == measure.Stale.String(): // the looks have stopped
			j.cannotTell(s.Name, "it answers", spaced(v.Reason))
		default:
			if silent[v.Reason] == 0 {
				reasons = append(reasons, v.Reason)
			}
			silent[v.Reason]++
		}
	}
	if left := len(regions) - maxRegionData; left > 0 {
		j.details = append(j.details, fmt.Sprintf("No performance data of %s: /api/v1/regions has them.", count(left, "more region", "more regions")))
	}
	return count(len(regions), "region", "regions") + ": " + answered(answer, reasons, silent)
}
