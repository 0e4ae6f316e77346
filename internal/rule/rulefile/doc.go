// Package rulefile reads rules from YAML, and files that test them.
//
// A file of rules has one key, rules: [Rules] reads it, [Preset] one that
// comes with the program. A test file names rules, gives series of signals by
// hand and says how far each rule is at which time; [ParseTests] reads it and
// [Suite.Run] replays the series through the very code that the agent runs:
//
//	suite, err := rulefile.ParseTests("web_test.yaml", data, os.ReadFile)
//	if err != nil {
//		return err // one line for each problem, by file, line and column
//	}
//	for _, result := range suite.Run() { ... }
//
// The package opens no files: it is given their content, or a function that
// reads them.
package rulefile
