package collector

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

func TestAnswerThatIsNotReadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Collector{log: slog.New(slog.DiscardHandler), failed: make(chan error, 1)}
		l, ended := bufconn.Listen(1<<10), make(chan error)
		c.serveHTTP("a test", l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 4<<10))
			}
			ended <- err
		}), writeTimeout)
		conn, err := l.DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: collector\r\n\r\n")
		select {
		case <-ended:
		case <-time.After(5 * time.Minute):
			t.Error("who does not read holds an answer for more than 5 minutes")
			_ = conn.Close()
			<-ended
		}
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Stop comes back, also when a part of the collector does not.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		c := &Collector{}
		c.onStop(func(context.Context) error { <-hang; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
		defer cancel()
		before := time.Now()
		if err := c.Stop(ctx); err == nil || time.Since(before) > time.Minute {
			t.Errorf("after %s: %v", time.Since(before), err)
		}
		close(hang)
	})
}
