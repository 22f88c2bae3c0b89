package drives

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The helper's protocol: one connection to its socket is one request, a line of
// text, and one Reply, a JSON document. The requests are
//
//	list                    all drives, and the list's generation
//	GENERATION INDEX        what the drive at that place of the list, counted from 0, says
//
// Nothing that a request can hold is a name, a path or an option.

// Socket is where the helper listens.
const Socket = "/run/wacht/smart.sock"

// The protocol's limits.
const (
	MaxRequest    = 64      // bytes of a request, with its newline
	MaxReply      = 1 << 20 // bytes of a reply
	MaxDrives     = 512     // drives of a list; more are an error
	generationLen = 16      // hexadecimal digits
)

// Request is what the helper can be asked for. The zero value asks for the list.
type Request struct {
	Generation string // the list that Index counts in; empty asks for a list
	Index      int
}

// String is the request's line, without the newline.
func (r Request) String() string {
	if r.Generation == "" {
		return "list"
	}
	return r.Generation + " " + strconv.Itoa(r.Index)
}

var errRequest = errors.New(`a request is the line "list", or a list's generation and a drive's index`)

// ParseRequest reads a request's line, without its newline. It accepts exactly
// what Request.String writes.
func ParseRequest(line string) (Request, error) {
	if line == "list" {
		return Request{}, nil
	}
	generation, digits, ok := strings.Cut(line, " ")
	if !ok || len(generation) != generationLen || strings.Trim(generation, "0123456789abcdef") != "" {
		return Request{}, errRequest
	}
	index, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || strconv.FormatUint(index, 10) != digits || index >= MaxDrives {
		return Request{}, fmt.Errorf("%w between 0 and %d", errRequest, MaxDrives-1)
	}
	return Request{Generation: generation, Index: int(index)}, nil
}

// Reply is the helper's answer. Error is empty when all went well.
type Reply struct {
	Code  Code   `json:"code,omitempty"` // what kind of Error
	Error string `json:"error,omitempty"`

	Generation string   `json:"generation,omitempty"` // of a list
	Drives     []Device `json:"drives,omitempty"`

	ExitStatus int             `json:"exit_status,omitempty"` // of smartctl for one drive
	Report     json.RawMessage `json:"report,omitempty"`
}

// Code tells the errors apart that a caller acts on.
type Code string

// The codes of a Reply.
const (
	CodeFailed     Code = "failed"      // smartctl could not be run or gave no answer
	CodeRequest    Code = "request"     // the request is malformed
	CodeRefused    Code = "refused"     // the caller may not ask
	CodeNoSmartctl Code = "no-smartctl" // ErrNoSmartctl
	CodeChanged    Code = "changed"     // ErrChanged
	CodeBusy       Code = "busy"        // the drive has not answered an earlier request yet
)

// Err is the reply's error.
func (r *Reply) Err() error {
	switch {
	case r.Error == "" && r.Code == "":
		return nil
	case r.Code == CodeNoSmartctl:
		return ErrNoSmartctl
	case r.Code == CodeChanged:
		return ErrChanged
	}
	return errors.New(r.Error)
}

// Failure is the reply for an error.
func Failure(err error) Reply {
	code := CodeFailed
	switch {
	case errors.Is(err, ErrNoSmartctl):
		code = CodeNoSmartctl
	case errors.Is(err, ErrChanged):
		code = CodeChanged
	}
	return Reply{Code: code, Error: err.Error()}
}
