package agent

import (
	"os"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
)

func TestMain(m *testing.M) {
	lab.Child()
	if dir := os.Getenv(posterDir); dir != "" {
		poster(dir)
		return
	}
	if dir := os.Getenv(followerDir); dir != "" {
		followed(dir)
	}
	os.Exit(m.Run())
}
