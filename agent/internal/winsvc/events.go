package winsvc

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// Log is a log of events: *eventlog.Log.
type Log interface {
	Info(id uint32, text string) error
	Warning(id uint32, text string) error
	Error(id uint32, text string) error
}

// Event ids, by which a log can be filtered.
const (
	EventInfo = 1 + iota
	EventWarning
	EventError
)

// maxEventBytes bounds a text: Windows takes 31,839 characters.
const maxEventBytes = 16 << 10

// events is a slog.Handler that writes to the Event Log. Time and level are fields
// of the event, and not in its text.
type events struct {
	slog.Handler
	shared *page
}

// page is where a record is formatted before it becomes an event.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
	log  Log
}

// NewHandler returns a handler that writes each record to log as one event.
func NewHandler(log Log) slog.Handler {
	p := &page{log: log}
	return &events{slog.NewTextHandler(&p.text, &slog.HandlerOptions{ReplaceAttr: plain}), p}
}

func plain(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// Handle writes the message, and below it the attributes.
func (e *events) Handle(ctx context.Context, r slog.Record) error {
	p := e.shared
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Reset()
	if err := e.Handler.Handle(ctx, r); err != nil {
		return err
	}
	text := strings.TrimSpace(r.Message + "\r\n" + strings.TrimSpace(p.text.String()))
	text = strings.ReplaceAll(text, "\x00", "")
	if len(text) > maxEventBytes {
		text = strings.ToValidUTF8(text[:maxEventBytes], "") + "…"
	}
	switch {
	case r.Level >= slog.LevelError:
		return p.log.Error(EventError, text)
	case r.Level >= slog.LevelWarn:
		return p.log.Warning(EventWarning, text)
	}
	return p.log.Info(EventInfo, text)
}

// WithAttrs and WithGroup keep the records going to the log.
func (e *events) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &events{e.Handler.WithAttrs(attrs), e.shared}
}

// WithGroup is as slog.Handler says.
func (e *events) WithGroup(name string) slog.Handler {
	return &events{e.Handler.WithGroup(name), e.shared}
}
