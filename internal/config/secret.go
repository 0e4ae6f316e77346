package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret says where a secret is, and only that: the secret itself is read
// when it is needed and is never part of a Config. At most one field is set;
// the zero value is no secret. It prints as the place, never as the content.
type Secret struct {
	File string // absolute path
	Env  string // name of an environment variable
}

// maxSecret is the largest secret, in bytes: a private key with its chain.
const maxSecret = 64 << 10

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// String is the place, as the file says it: "{file: /etc/foreshock/token}".
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "{file: " + yamlText(s.File) + "}"
	case s.Env != "":
		return "{env: " + yamlText(s.Env) + "}"
	}
	return "none"
}

// Read fetches the secret, without the one newline that editors put at the
// end. It refuses an empty secret, and a file that everybody may read. No
// error repeats any of it.
func (s Secret) Read() (string, error) {
	var text, where string
	switch {
	case s.File != "":
		var err error
		if text, err = readSecret(s.File); err != nil {
			return "", fmt.Errorf("read the secret: %w", err)
		}
		where = s.File
	case s.Env != "":
		var set bool
		if text, set = os.LookupEnv(s.Env); !set {
			return "", fmt.Errorf("read the secret: the environment variable %s is not set; set it before the agent starts", s.Env)
		}
		where = "the environment variable " + s.Env
	default:
		return "", errors.New("read the secret: there is none; write where it is: " + secretHint)
	}
	if rest, cut := strings.CutSuffix(text, "\n"); cut {
		text = strings.TrimSuffix(rest, "\r")
	}
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("read the secret: %s is empty; put the secret there", where)
	}
	return text, nil
}

func readSecret(path string) (string, error) {
	data, fi, err := readPlain(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("%w; put it into a plain file, readable for the user that Foreshock runs as", err)
	}
	if mode := fi.Mode().Perm(); mode&0o004 != 0 {
		return "", fmt.Errorf("%s has mode %04o, so everybody on this host may read it; run chmod o-r %s, and change the secret if it was used", path, mode, path)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("%s is larger than %d bytes; is it the right file?", path, maxSecret)
	}
	return string(data), nil
}
