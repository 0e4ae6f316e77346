package lab_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
)

// doomedVariable makes this test binary make a world with a server in it and
// then wait to be killed.
const doomedVariable = "FORESHOCK_LAB_TEST_DOOMED"

func TestMain(m *testing.M) {
	lab.Child()
	if os.Getenv(doomedVariable) != "" {
		if err := doomed(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
