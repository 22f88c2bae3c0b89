package host

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What a plugin may write to its output, in bytes: at once, and each second.
const (
	outputBurst  = 1 << 20
	outputSecond = 64 << 10
)

var errFlood = fmt.Errorf("it writes more than %d KiB at once, or %d KiB a second, to its output", outputBurst>>10, outputSecond>>10)

// output takes what a plugin writes: the first line of its standard output for the
// handshake, and the end of its standard error to say why it ended.
type output struct {
	room  *rate.Limiter
	flood func(error) // ends the plugin
	line  chan string // takes the first line

	mu    sync.Mutex
	first []byte
	told  bool
	tail  []byte
	why   string // the line by which a Go program says why it ends
}

func newOutput(flood func(error)) *output {
	return &output{room: rate.NewLimiter(outputSecond, outputBurst), flood: flood, line: make(chan string, 1)}
}

// take counts what was written.
func (o *output) take(n int) error {
	if o.room.AllowN(time.Now(), n) {
		return nil
	}
	o.flood(errFlood)
	return errFlood
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// stdout hands on the first line and drops the rest.
func (o *output) stdout(p []byte) (int, error) {
	if err := o.take(len(p)); err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		return len(p), nil
	}
	o.first = append(o.first, p[:min(len(p), maxHandshake)]...)
	line, _, whole := bytes.Cut(o.first, []byte("\n"))
	switch {
	case whole:
		o.told = true
		o.line <- string(line)
		o.first = nil
	case len(o.first) > maxHandshake:
		return 0, errors.New("its first line does not end")
	}
	return len(p), nil
}

// maxTail is how much of standard error is kept.
const maxTail = 2 << 10

func (o *output) stderr(p []byte) (int, error) {
	if err := o.take(len(p)); err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, p[max(0, len(p)-maxTail):]...)
	if o.why == "" {
		o.why = notable(o.tail)
	}
	o.tail = o.tail[max(0, len(o.tail)-maxTail):]
	return len(p), nil
}

// notable finds the line before a stack that says what it is about.
func notable(text []byte) string {
	for line := range strings.Lines(string(text)) {
		for _, begin := range []string{"panic: ", "fatal error: ", "runtime: "} {
			if strings.HasPrefix(line, begin) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
	}
	return ""
}

// last says of standard error what tells most: why a Go program panicked, or else the
// last line.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	const most = 200
	line := o.why
	if line == "" {
		text := strings.TrimSpace(string(o.tail))
		line = text[strings.LastIndexByte(text, '\n')+1:]
	}
	line = strings.ToValidUTF8(strings.TrimSpace(line), "?")
	return line[:min(len(line), most)]
}
