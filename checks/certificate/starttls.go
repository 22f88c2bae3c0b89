package certificate

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
)

// maxTalk bounds what a server may say before encryption starts, in bytes.
const maxTalk = 16 << 10

// startTLS speaks a protocol until encryption can start.
func startTLS(protocol string, conn net.Conn) error {
	r := bufio.NewReader(io.LimitReader(conn, maxTalk))
	speak := smtp
	if protocol == "imap" {
		speak = imap
	}
	if err := speak(textproto.NewReader(r), conn); err != nil {
		return err
	}
	if r.Buffered() > 0 {
		return fmt.Errorf("the server sent %d bytes more before the handshake", r.Buffered())
	}
	return nil
}

// smtp asks as RFC 3207 says.
func smtp(r *textproto.Reader, w io.Writer) error {
	if _, _, err := r.ReadResponse(220); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	for _, ask := range []struct {
		command string
		answer  int
	}{{"EHLO wacht.invalid", 250}, {"STARTTLS", 220}} {
		if _, err := io.WriteString(w, ask.command+"\r\n"); err != nil {
			return fmt.Errorf("sending %s: %w", ask.command, err)
		}
		if _, _, err := r.ReadResponse(ask.answer); err != nil {
			return fmt.Errorf("the answer to %s: %w", ask.command, err)
		}
	}
	return nil
}

// imap asks as RFC 9051 section 6.2.1 says.
func imap(r *textproto.Reader, w io.Writer) error {
	greeting, err := r.ReadLine()
	if err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	if !strings.HasPrefix(greeting, "* OK") {
		return fmt.Errorf("the greeting is %.80q", greeting)
	}
	if _, err := io.WriteString(w, "w1 STARTTLS\r\n"); err != nil {
		return fmt.Errorf("sending STARTTLS: %w", err)
	}
	for {
		line, err := r.ReadLine()
		switch {
		case err != nil:
			return fmt.Errorf("the answer to STARTTLS: %w", err)
		case strings.HasPrefix(line, "w1 OK"):
			return nil
		case !strings.HasPrefix(line, "* "):
			return fmt.Errorf("the answer to STARTTLS is %.80q", line)
		}
	}
}
