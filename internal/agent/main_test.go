package agent

import (
	"os"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
)

func TestMain(m *testing.M) {
	lab.Child()
	os.Exit(m.Run())
}
