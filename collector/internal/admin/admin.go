// Package admin is how the collector's own commands act on it: over a local socket
// in the data folder when a collector runs there, and on the files, by the same
// handler in the command's own process, when none does. Whoever can open the socket
// or the files is an administrator.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Socket is the file name of the socket in the data folder.
const Socket = "admin.sock"

// TokenOrder asks for a joining token.
type TokenOrder struct {
	Customer string            `json:"customer"`
	Site     string            `json:"site"`
	Labels   map[string]string `json:"labels,omitempty"`
	TTL      time.Duration     `json:"ttl,omitempty"` // nanoseconds
	Uses     int               `json:"uses,omitempty"`
	// NoApproval lets the hosts of a token of several uses in at once.
	NoApproval bool `json:"no_approval,omitempty"`
}

// UserOrder asks for a local account.
type UserOrder struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	Customer string `json:"customer,omitempty"`
	Password string `json:"password"`
}

// APITokenOrder asks for a token for people's programs.
type APITokenOrder struct {
	Name     string        `json:"name"`
	Role     string        `json:"role"`
	Customer string        `json:"customer,omitempty"`
	TTL      time.Duration `json:"ttl,omitempty"` // nanoseconds; 0 never ends
}

// Text answers an order with what is shown once.
type Text struct {
	Text string `json:"text"`
}

// Failure answers what could not be done. Wrong says that the order itself was.
type Failure struct {
	Error string `json:"error"`
	Wrong bool   `json:"wrong,omitempty"`
}

// WrongError is an order that can't be right, as against one that failed.
type WrongError struct{ Err error }

// Error says what is wrong with the order.
func (e *WrongError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *WrongError) Unwrap() error { return e.Err }

// Wrong makes an error one of the order; nil stays nil.
func Wrong(err error) error {
	if err == nil {
		return nil
	}
	return &WrongError{err}
}

// Core does what the orders ask.
type Core interface {
	CreateToken(r *http.Request, o TokenOrder) (string, error)
	AddUser(r *http.Request, o UserOrder) error
	CreateAPIToken(r *http.Request, o APITokenOrder) (string, error)
	Backup(r *http.Request, w io.Writer) error
	// ReloadPolicy reads the policy again, and says in words what it holds.
	ReloadPolicy(r *http.Request) (string, error)
	// API answers the requests below /api/ as an administrator.
	API() (http.Handler, error)
}

// maxOrder bounds an order's size in bytes.
const maxOrder = 64 << 10

// Handler serves the orders.
func Handler(c Core) (http.Handler, error) {
	api, err := c.API()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /token", order(func(r *http.Request, o TokenOrder) (Text, error) {
		text, err := c.CreateToken(r, o)
		return Text{text}, err
	}))
	mux.Handle("POST /user", order(func(r *http.Request, o UserOrder) (Text, error) {
		return Text{}, c.AddUser(r, o)
	}))
	mux.Handle("POST /apitoken", order(func(r *http.Request, o APITokenOrder) (Text, error) {
		text, err := c.CreateAPIToken(r, o)
		return Text{text}, err
	}))
	mux.Handle("POST /policy/reload", order(func(r *http.Request, _ struct{}) (Text, error) {
		text, err := c.ReloadPolicy(r)
		return Text{text}, err
	}))
	mux.HandleFunc("GET /backup", func(w http.ResponseWriter, r *http.Request) {
		// A backup that breaks off lacks its checksum, and restore refuses it.
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := c.Backup(r, w); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.Handle("/api/", api)
	return mux, nil
}

func order[O any](do func(*http.Request, O) (Text, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var o O
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil {
			fail(w, Wrong(err))
			return
		}
		text, err := do(r, o)
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, http.StatusOK, text)
	})
}

func fail(w http.ResponseWriter, err error) {
	_, wrong := errors.AsType[*WrongError](err)
	code := http.StatusInternalServerError
	if wrong {
		code = http.StatusBadRequest
	}
	answer(w, code, Failure{Error: err.Error(), Wrong: wrong})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the command left; there is nobody to tell
}

// Listen makes the socket of a data folder, for its owner alone. A socket that a
// killed collector left behind is replaced: whoever has the store open is the only
// collector there is.
func Listen(ctx context.Context, dataDir string) (net.Listener, error) {
	path := filepath.Join(dataDir, Socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replacing the socket that was left behind: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for the collector's own commands: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("keeping the socket to its owner: %w", err), l.Close())
	}
	return l, nil
}
