//go:build linux && race

package labtest

const race = true
