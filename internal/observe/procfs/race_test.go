//go:build race

package procfs

// raceEnabled: allocation counts do not hold under the race detector.
const raceEnabled = true
