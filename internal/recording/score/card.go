package score

import "time"

// Card is how one contestant did over all episodes. Its JSON is a contract whose
// keys only grow; what is not known is null.
type Card struct {
	Contestant string  `json:"contestant"`
	Episodes   int     `json:"episodes"`
	Days       float64 `json:"days"` // of recordings
	// False is findings at warning or above that no label explains.
	False       int          `json:"false_findings"`
	FalsePerDay float64      `json:"false_findings_per_day"`
	Total       CauseScore   `json:"total"` // its Cause is "all"
	Causes      []CauseScore `json:"causes"`
	// Each is the episodes, in the order they were given.
	Each []EpisodeScore `json:"each"`
}

// CauseScore is the labels of one cause.
type CauseScore struct {
	Cause  string   `json:"cause"`
	Labels int      `json:"labels"`
	Found  int      `json:"found"`
	Recall *float64 `json:"recall"`
	// Delay is from the fault to the finding, Lead from the finding to the
	// client's first failure: negative where the client was first. 95 of 100
	// delays are at most, 95 of 100 leads at least DelayP95 and LeadP95.
	DelayMedian *float64 `json:"delay_median_seconds"`
	DelayP95    *float64 `json:"delay_p95_seconds"`
	LeadMedian  *float64 `json:"lead_median_seconds"`
	LeadP95     *float64 `json:"lead_p95_seconds"`
}

// EpisodeScore is one episode.
type EpisodeScore struct {
	Name    string         `json:"name"`
	Healthy bool           `json:"healthy"`
	Labels  []LabelScore   `json:"labels"`
	False   []FalseFinding `json:"false"`
}

// LabelScore is what became of one label.
type LabelScore struct {
	Cause string   `json:"cause"`
	Scope string   `json:"scope"`
	Found bool     `json:"found"`
	As    string   `json:"as,omitempty"` // the cause or the rule that was first
	Delay *float64 `json:"delay_seconds"`
	Lead  *float64 `json:"lead_seconds"`
}

// FalseFinding is one that no label explains.
type FalseFinding struct {
	At       time.Time `json:"at"` // when it reached warning
	Scope    string    `json:"scope"`
	Says     string    `json:"says"` // the cause or the rule
	Severity string    `json:"severity"`
}
