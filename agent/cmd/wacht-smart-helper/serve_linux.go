package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/wacht-io/wacht/checks/smart/drives"
)

// The limits that a caller is held to.
const (
	maxCallers = 16               // connections served at a time; more wait to be accepted
	maxSending = 5 * time.Second  // until a request has come, where options say nothing else
	maxTaking  = 10 * time.Second // until a reply has been taken
	maxListing = 60 * time.Second // for a list
)

// options are what the helper serves with.
type options struct {
	listener *net.UnixListener
	callers  callers
	idle     time.Duration
	sending  time.Duration
	find     func() (asker, error)
	log      *slog.Logger
}

// helper serves one socket.
type helper struct {
	options
	shelf  *shelf
	places chan struct{} // one for each connection served
}

// serve answers until nobody has asked for a while, or ctx ends.
func serve(ctx context.Context, o options) error {
	if o.sending <= 0 {
		o.sending = maxSending
	}
	h := &helper{options: o, places: make(chan struct{}, maxCallers), shelf: newShelf(o.find)}
	stop := context.AfterFunc(ctx, func() { _ = o.listener.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := h.accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if h.unused() {
				return nil
			}
		case err != nil:
			return fmt.Errorf("waiting to be asked: %w", err)
		default:
			serving.Go(func() { h.handle(ctx, conn) })
		}
	}
}

// accept waits for a connection until the helper is idle. The connection has a place,
// which handle gives back.
func (h *helper) accept() (*net.UnixConn, error) {
	h.places <- struct{}{}
	err := h.listener.SetDeadline(time.Now().Add(h.idle))
	if err != nil {
		return nil, err
	}
	conn, err := h.listener.AcceptUnix()
	if err != nil {
		<-h.places
		return nil, err
	}
	return conn, nil
}

func (h *helper) unused() bool { return len(h.places) == 0 }

// handle serves one connection.
func (h *helper) handle(ctx context.Context, conn *net.UnixConn) {
	defer func() { <-h.places }()
	defer conn.Close()
	reply := h.reply(ctx, conn)
	if reply.Code == drives.CodeRefused || reply.Code == drives.CodeRequest {
		h.log.Warn("refused a request", "reason", reply.Error)
	}
	data, err := encode(reply)
	if err != nil {
		data, _ = encode(drives.Failure(err))
	}
	_ = conn.SetWriteDeadline(time.Now().Add(maxTaking))
	if _, err := conn.Write(data); err != nil {
		h.log.Warn("an answer was not taken", "error", err)
	}
}

// encode writes a reply that is within the limit. What smartctl wrote stays as long
// as it is.
func encode(r drives.Reply) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return nil, fmt.Errorf("writing the answer: %w", err)
	}
	if out.Len() > drives.MaxReply {
		return nil, fmt.Errorf("the answer exceeds the limit of %d bytes", drives.MaxReply)
	}
	return out.Bytes(), nil
}

// reply answers whoever is at the other end.
func (h *helper) reply(ctx context.Context, conn *net.UnixConn) drives.Reply {
	if err := h.callers.verify(conn); err != nil {
		return drives.Reply{Code: drives.CodeRefused, Error: err.Error()}
	}
	_ = conn.SetReadDeadline(time.Now().Add(h.sending))
	request, err := readRequest(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no request came within %v", h.sending)
	}
	if err != nil {
		return drives.Reply{Code: drives.CodeRequest, Error: err.Error()}
	}
	if request.Generation == "" {
		ctx, cancel := context.WithTimeout(ctx, maxListing)
		defer cancel()
		return h.shelf.list(ctx)
	}
	return h.shelf.read(ctx, request)
}

func readRequest(r io.Reader) (drives.Request, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, drives.MaxRequest), drives.MaxRequest).ReadString('\n')
	if err != nil {
		return drives.Request{}, fmt.Errorf("no line of at most %d bytes came: %w", drives.MaxRequest, err)
	}
	return drives.ParseRequest(line[:len(line)-1])
}
