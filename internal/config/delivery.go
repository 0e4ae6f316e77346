package config

import (
	"fmt"
	"strconv"
	"time"

	"github.com/invopop/jsonschema"
)

// DefaultGiveUp is for how long a channel tries a notice while its receiver is
// out of order, unless it says otherwise.
const DefaultGiveUp = day

// DefaultLibraryPerHour is what a service of the notification library gets
// within an hour at most, unless its channel says otherwise: most of them count,
// and people stop to read.
const DefaultLibraryPerHour = 60

// The bounds of delivery. Within less than a minute no receiver is restarted; of
// what is a week old nobody needs to be told.
const (
	MinGiveUp, MaxGiveUp = time.Minute, 7 * day
	MaxPerHour           = 10_000
)

// rawRate is a number of notices.
type rawRate struct{ scalar }

func (rawRate) kind() kind {
	return kind{"a whole number", "60", &jsonschema.Schema{Type: "integer", Minimum: number(1), Maximum: number(MaxPerHour)}}
}

// checkDelivery reads how hard a channel tries.
func checkDelivery(p *problems, path string, raw rawChannel) (giveUp time.Duration, perHour int) {
	giveUp = DefaultGiveUp
	if raw.GiveUp.Good {
		giveUp = checkKeep(p, path+".give_up", raw.GiveUp.scalar, MinGiveUp, MaxGiveUp)
	}
	if raw.URL.tried {
		perHour = DefaultLibraryPerHour
	}
	if s := raw.MaxPerHour.scalar; s.Good {
		n, err := strconv.Atoi(s.Text)
		if err != nil || n < 1 || n > MaxPerHour {
			path += ".max_per_hour"
			p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is not a whole number from 1 to %d", path, quote(s.Text), MaxPerHour), "choose one within, as 60, or remove it")
			return giveUp, perHour
		}
		perHour = n
	}
	return giveUp, perHour
}
