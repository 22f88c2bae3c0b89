package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Channel takes deliveries to people or to other systems. It is safe for concurrent
// use.
type Channel interface {
	// Send returns nil when the other side has taken the delivery over. An error may
	// leave that open: the same delivery is then sent again, with the same key. What
	// will never succeed is a *SendError that is permanent.
	Send(ctx context.Context, d Delivery) error
	Close() error
}

// Options are what a configuration file says of one kind of channel. They are
// decoded from YAML, so their fields carry yaml tags.
type Options interface {
	// Validate says all that is wrong, reading secret files but not the network.
	Validate() []error
	// New makes the channel. It does not use the network.
	New(Env) (Channel, error)
}

// Env is what the collector gives a channel.
type Env struct {
	// Name is the channel's own.
	Name   string
	Logger *slog.Logger
	// UserAgent names the program and its version.
	UserAgent string
}

// SendError is an error of sending with what it means for the next attempt.
type SendError struct {
	Err error
	// Permanent says that no later attempt can succeed.
	Permanent bool
	// After is the least time to the next attempt, as the receiver asked for; 0 when it
	// did not.
	After time.Duration
}

func (f *SendError) Error() string { return f.Err.Error() }

// Unwrap returns the error.
func (f *SendError) Unwrap() error { return f.Err }

// Secret is a text that shows as *** wherever it is printed, logged or encoded.
type Secret string

const hidden = "***"

// String returns ***.
func (Secret) String() string { return hidden }

// GoString returns ***.
func (Secret) GoString() string { return hidden }

// MarshalText returns ***.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns ***.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// maxSecretBytes is more than any secret; a larger file is the wrong file.
const maxSecretBytes = 64 << 10

// ReadSecret reads a secret from a file, without the line end that editors add.
func ReadSecret(path string) (Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecretBytes {
		return "", fmt.Errorf("%s is no file with a secret", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", errors.New(path + " is empty")
	}
	return Secret(secret), nil
}
