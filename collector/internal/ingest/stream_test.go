package ingest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/inventory"
)

func definitions(item string) *agentpb.AgentMessage {
	return &agentpb.AgentMessage{Message: &agentpb.AgentMessage_Definitions{Definitions: &agentpb.Definitions{
		Tasks:  []*agentpb.TaskDefinition{{Number: 1, Check: "disk"}},
		States: []*agentpb.StateDefinition{{Number: 1, Task: 1, Item: item, Metrics: []*agentpb.MetricDefinition{{Name: "free_bytes"}}}},
	}}}
}

func batch(sequence uint64, values ...float64) *agentpb.AgentMessage {
	return &agentpb.AgentMessage{Message: &agentpb.AgentMessage_Batch{Batch: &agentpb.Batch{Epoch: 7, Runs: []*agentpb.PackedRun{{
		Sequence: sequence, Task: 1, PlannedMs: time.Now().UnixMilli(), NextWithinMs: 60_000,
		Results: []*agentpb.PackedResult{{State: 1, Values: values}},
	}}}}}
}

// wide is a policy that is long to send.
type wide struct {
	engine.Policy
	revision uint64
}

func (w wide) Effective(inventory.Host, []string) *agentpb.Policy {
	return &agentpb.Policy{Revision: w.revision, Tasks: []*agentpb.Task{{
		Check: "disk", Params: []*agentpb.Param{{Name: "ignore", Values: []string{strings.Repeat("x", 64<<10)}}},
	}}}
}

// A client that never reads can't keep its stream by that.
func TestRevocationCutsAStreamThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t)
		m := s.mustJoin()
		conn := s.connect(m, grpc.WithInitialWindowSize(64<<10)) // a fixed window
		_, first, err := s.openAt(agentpb.NewCollectorClient(conn), 1)
		if err != nil || first.GetWelcome() == nil {
			t.Fatalf("got %v, %v", first, err)
		}
		for n := range uint64(10) {
			if err := s.engine.SetPolicy(t.Context(), wide{s.policy, n + 100}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		before := time.Now()
		if err := s.engine.Revoke(t.Context(), "acme", m.id, "alice"); err != nil {
			t.Fatal(err)
		}
		if !conn.WaitForStateChange(t.Context(), connectivity.Ready) {
			t.Fatal("the connection stays")
		}
		if took := time.Since(before); took > 5*time.Second {
			t.Errorf("the connection was cut after %s", took)
		}
		synctest.Wait()
		if h, err := s.engine.Host("acme", m.id); err != nil || h.Connected {
			t.Errorf("the revoked host is connected: %v, %v", h.Connected, err)
		}
	})
}

// An agent that leaves learns that its last runs are in history, and need not send
// them again.
func TestLastRunsAreAcknowledgedBeforeTheStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t)
		stream, first, err := s.open(s.mustJoin())
		if err != nil || first.GetWelcome() == nil {
			t.Fatalf("got %v, %v", first, err)
		}
		for _, m := range []*agentpb.AgentMessage{
			definitions("/"), batch(1, 1e9), batch(2, 1e9),
			{Message: &agentpb.AgentMessage_Goodbye{Goodbye: &agentpb.Goodbye{Reason: agentpb.Goodbye_STOP}}},
		} {
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		before, archived := time.Now(), uint64(0)
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			archived = max(archived, m.GetAck().GetCursor().GetArchived())
		}
		if archived != 2 {
			t.Errorf("the stream ended with run %d acknowledged of 2", archived)
		}
		if took := time.Since(before); took > 500*time.Millisecond {
			t.Errorf("the agent waited for %s", took)
		}
	})
}

func TestConnectionWithoutStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t)
		conn := s.connect(nil)
		_, err := agentpb.NewCollectorClient(conn).Renew(t.Context(), &agentpb.RenewRequest{})
		if status.Code(err) != codes.InvalidArgument {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
		defer cancel()
		if !conn.WaitForStateChange(ctx, connectivity.Ready) {
			t.Error("an idle connection stays open")
		}
	})
}

func TestStreamWithoutHelloEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t)
		stream, err := s.dial(s.mustJoin()).Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if _, err := stream.Recv(); err == nil || time.Since(before) > 30*time.Second {
			t.Errorf("after %s: %v", time.Since(before), err)
		}
	})
}

// Nothing is signed, or even read, for whoever has no token that is accepted.
func TestTokenIsLookedAtFirst(t *testing.T) {
	s := newSide(t)
	used := s.token(time.Minute, 1)
	if _, err := s.join(used); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token, says string
		csr         []byte
		code        codes.Code
	}{
		{"wacht1_nonsense", "token", nil, codes.InvalidArgument},
		{newSide(t).token(time.Minute, 1), "another collector", nil, codes.PermissionDenied},
		{used, "used already", request(t, newKey(t)), codes.PermissionDenied},
		{s.token(time.Minute, 1), "certificate request", nil, codes.InvalidArgument},
	} {
		_, err := s.dial(nil).Join(t.Context(), &agentpb.JoinRequest{Token: c.token, Csr: c.csr})
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, and not %q", err, c.says)
		}
	}
}

func TestKeysOnOtherCurvesAreRefused(t *testing.T) {
	s := newSide(t)
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := s.token(time.Minute, 1)
	_, err = s.dial(nil).Join(t.Context(), &agentpb.JoinRequest{Token: token, Csr: request(t, key)})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "P-521") {
		t.Fatalf("got %v", err)
	}
	if _, err := s.join(token); err != nil {
		t.Fatalf("the refused request used the token up: %v", err)
	}
}

// A copy may join for as long as the engine lets it, and is told what else to do.
func TestCopyThatMayNotJoinIsToldWhatToDo(t *testing.T) {
	s := newSide(t)
	_, err := s.dial(s.mustJoin()).Join(t.Context(), &agentpb.JoinRequest{Csr: request(t, newKey(t))})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "with a token") {
		t.Fatalf("a copy that nobody noticed gets %v", err)
	}
}

func TestHostHasFewConnections(t *testing.T) {
	s := newSide(t)
	m := s.mustJoin()
	oldest := s.connect(m)
	if _, first, err := s.openAt(agentpb.NewCollectorClient(oldest), 1); err != nil || first.GetWelcome() == nil {
		t.Fatalf("got %v, %v", first, err)
	}
	for range 8 {
		if _, err := s.dial(m).Renew(t.Context(), &agentpb.RenewRequest{HostId: m.id, Csr: request(t, m.key)}); err != nil {
			t.Fatal(err)
		}
	}
	if !oldest.WaitForStateChange(t.Context(), connectivity.Ready) {
		t.Fatal("the oldest of nine connections stays")
	}
}
