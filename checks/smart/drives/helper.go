package drives

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
)

// Helper asks the helper that listens at a socket.
type Helper struct {
	Socket string

	generation string
	listed     []Device
}

// Listens says whether there is a socket.
func Listens(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeSocket != 0
}

// Scan implements Source.
func (h *Helper) Scan(ctx context.Context) ([]Device, error) {
	r, err := h.call(ctx, Request{})
	if err != nil {
		return nil, err
	}
	h.generation, h.listed = r.Generation, r.Drives
	return r.Drives, nil
}

// Ask implements Source.
func (h *Helper) Ask(ctx context.Context, d Device) (Answer, error) {
	index := slices.Index(h.listed, d)
	if index < 0 {
		return Answer{}, ErrChanged
	}
	r, err := h.call(ctx, Request{Generation: h.generation, Index: index})
	if err != nil {
		return Answer{}, err
	}
	return Answer{ExitStatus: r.ExitStatus, JSON: r.Report}, nil
}

// Denied implements Source.
func (h *Helper) Denied() string {
	return "DeviceAllow= of wacht-smart-helper.service must name the device's kind"
}

func (h *Helper) call(ctx context.Context, request Request) (*Reply, error) {
	data, err := h.exchange(ctx, request.String()+"\n")
	if err != nil {
		return nil, fmt.Errorf("asking the helper at %s: %w", h.Socket, explained(err))
	}
	var r Reply
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading what the helper at %s answered: %w", h.Socket, err)
	}
	return &r, r.Err()
}

// exchange sends a request and reads the reply to its end.
func (h *Helper) exchange(ctx context.Context, request string) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.Socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// A helper that refuses closes without reading; its reply says why.
	_, sent := io.WriteString(conn, request)
	data, err := io.ReadAll(io.LimitReader(conn, MaxReply+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(data) > MaxReply:
		return nil, fmt.Errorf("the answer exceeds the limit of %d bytes", MaxReply)
	case len(data) > 0:
		return data, nil
	}
	return nil, fmt.Errorf("no answer came (%w); see journalctl -u wacht-smart-helper.service", cmp.Or(sent, err, io.EOF))
}

// explained adds to an error what to do about it.
func explained(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; the agent's group must be SocketGroup= of wacht-smart-helper.socket", err)
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; systemctl enable --now wacht-smart-helper.socket starts it", err)
	}
	return err
}
