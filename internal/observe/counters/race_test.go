//go:build race

package counters

// raceEnabled: allocation counts do not hold under the race detector.
const raceEnabled = true
