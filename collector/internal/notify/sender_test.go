package notify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
	"github.com/wacht-io/wacht/collector/internal/store/storetest"
)

var errDown = errors.New("the receiver is down")

// inBubble runs a test in fake time, with a desk of the channels a and b.
func inBubble(t *testing.T, test func(t *testing.T, d *desk, a, b *fakeChannel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeChannel{}, &fakeChannel{}
		d := &desk{
			t: t, store: &storetest.Faulty{Store: memstore.New()},
			channels: map[string]notice.Channel{"a": a, "b": b},
			config: Config{
				{Common: Common{Name: "a", Fallback: "b"}},
				{Common: Common{Name: "b", Fallback: "a", Priorities: []string{"P1"}}},
			},
		}
		test(t, d, a, b)
	})
}

func wantKeys(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestSentDeliveriesLeaveTheOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, b *fakeChannel) {
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		synctest.Wait()
		wantKeys(t, "sent", a.keys(), "INC-1:1:opened")
		wantKeys(t, "to who does not hear of P2", b.keys())
		if left := d.rows(&notice.Outbox); len(left) > 0 {
			t.Errorf("the outbox still holds %v", left)
		}
		if err := testutil.CollectAndCompare(d.sender.metrics.attempts, strings.NewReader(`
# HELP wacht_notify_deliveries_total Attempts at deliveries by result: sent, failed and to be tried again, or dead.
# TYPE wacht_notify_deliveries_total counter
wacht_notify_deliveries_total{channel="a",result="dead"} 0
wacht_notify_deliveries_total{channel="a",result="failed"} 0
wacht_notify_deliveries_total{channel="a",result="sent"} 1
wacht_notify_deliveries_total{channel="b",result="dead"} 0
wacht_notify_deliveries_total{channel="b",result="failed"} 0
wacht_notify_deliveries_total{channel="b",result="sent"} 0
`)); err != nil {
			t.Error(err)
		}
		d.stop()
	})
}

func TestOrderOfAnIncidentIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		a.errs = []error{errDown, errDown}
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		d.tell(told("INC-1", 2, "resolved"))
		d.tell(told("INC-1", 3, "reopened"))
		synctest.Wait()
		wantKeys(t, "while the first fails", a.keys(), "INC-1:1:opened")
		time.Sleep(time.Hour)
		synctest.Wait()
		wantKeys(t, "in the end", a.keys(),
			"INC-1:1:opened", "INC-1:1:opened", "INC-1:1:opened", "INC-1:2:resolved", "INC-1:3:reopened")
		d.stop()
	})
}

func TestIncidentsDoNotWaitForEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		underWay, most := 0, 0
		a.during = func(_ context.Context, _ Delivery) error {
			a.mu.Lock()
			underWay++
			most = max(most, underWay)
			a.mu.Unlock()
			time.Sleep(time.Second)
			a.mu.Lock()
			underWay--
			a.mu.Unlock()
			return nil
		}
		d.start()
		for i := range 20 {
			d.tell(told(fmt.Sprint("INC-", i), 1, "opened"))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(a.keys()) != 20 || most != DefaultLimits().Workers {
			t.Errorf("%d of 20 sent, %d at once; want %d", len(a.keys()), most, DefaultLimits().Workers)
		}
		d.stop()
	})
}

func TestFailuresAreTriedAgainWithTheSameKey(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		a.errs = []error{errDown, &notice.SendError{Err: errDown, After: 10 * time.Minute}}
		d.start()
		start := time.Now()
		d.tell(told("INC-1", 1, "opened"))
		synctest.Wait()
		row := d.rows(&notice.Outbox)[0]
		if row.Attempts != 1 || row.LastError != errDown.Error() || row.NextAt.Sub(start) != 750*time.Millisecond {
			t.Errorf("after a failure the row is %+v", row)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if n := len(a.keys()); n != 2 {
			t.Fatalf("%d attempts before the receiver's Retry-After, want 2", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, got := range a.got {
			if got.Key != row.Key {
				t.Errorf("an attempt with key %s, another with %s", got.Key, row.Key)
			}
		}
		if len(a.got) != 3 || len(d.rows(&notice.Outbox)) != 0 {
			t.Errorf("%d attempts of 3, outbox %v", len(a.got), d.rows(&notice.Outbox))
		}
		d.stop()
	})
}

func TestDeadAfterADay(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, b *fakeChannel) {
		a.during = func(context.Context, Delivery) error { return errDown }
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		letters := d.rows(&notice.DeadLetters)
		if len(letters) != 1 || letters[0].State != notice.Dead || letters[0].LastError != errDown.Error() || letters[0].Attempts < 90 {
			t.Fatalf("dead letters after a day: %+v", letters)
		}
		if age := letters[0].DeadAt.Sub(letters[0].CreatedAt); age < 24*time.Hour || age > 24*time.Hour+20*time.Minute {
			t.Errorf("it died after %s", age)
		}
		if len(b.got) != 1 || b.got[0].Notice.Event != notice.Undelivered || len(d.rows(&notice.Outbox)) != 0 {
			t.Errorf("the fallback got %+v, the outbox holds %v", b.got, d.rows(&notice.Outbox))
		}
		d.stop()
	})
}

func TestPermanentFailureIsDeadAtOnceAndCanBeRetried(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, b *fakeChannel) {
		gone := &notice.SendError{Err: errors.New("410 Gone"), Permanent: true}
		a.errs, b.errs = []error{gone}, []error{gone}
		d.start()
		sent := d.tell(told("INC-1", 1, "opened"))[0]
		synctest.Wait()
		var letters []Delivery
		for letter, err := range d.sender.DeadLetters(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			letters = append(letters, letter)
		}
		if len(letters) != 2 {
			t.Fatalf("dead letters: %+v; want that of a and its fallback's, and no fallback of that", letters)
		}
		if err := d.sender.Retry(t.Context(), "acme", sent.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(a.got) != 2 || a.got[1].Key != sent.Key || len(d.rows(&notice.DeadLetters)) != 1 || len(d.rows(&notice.Outbox)) != 0 {
			t.Errorf("after a retry a got %+v", a.got)
		}
		if err := d.sender.Retry(t.Context(), "acme", sent.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("retrying what is sent: %v", err)
		}
		if err := d.sender.Retry(t.Context(), "other", letters[1].ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("retrying another customer's: %v", err)
		}
		d.stop()
	})
}

// TestFaults stops the collector, or its disk, around sending and recording: each
// delivery arrives, with one key, at most once more for a fault.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(d *desk, a *fakeChannel){
		"before the send": func(d *desk, a *fakeChannel) {
			d.stop()
			d.start()
		},
		"the receiver took it and the answer was lost": func(_ *desk, a *fakeChannel) {
			a.errs = []error{context.DeadlineExceeded}
		},
		"not recorded, then a restart": func(d *desk, a *fakeChannel) {
			d.store.FailBefore(errDown, errDown)
			d.tell(told("INC-9", 9, "opened"))
			synctest.Wait()
			d.stop()
			d.start()
		},
		"recorded, and the record's answer was lost": func(d *desk, a *fakeChannel) {
			d.store.FailAfter(errDown)
		},
		"stopped while the receiver thinks": func(d *desk, a *fakeChannel) {
			a.during = func(ctx context.Context, _ Delivery) error {
				<-ctx.Done()
				return ctx.Err()
			}
			d.tell(told("INC-9", 9, "opened"))
			synctest.Wait()
			d.stop()
			a.during = nil
			d.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
				d.start()
				fault(d, a)
				d.tell(told("INC-1", 1, "opened"))
				d.tell(told("INC-2", 1, "opened"))
				time.Sleep(time.Hour)
				synctest.Wait()
				d.stop()
				d.start()
				synctest.Wait()
				wantOnceOrTwice(t, d, a)
				d.stop()
			})
		})
	}
}

func wantOnceOrTwice(t *testing.T, d *desk, a *fakeChannel) {
	t.Helper()
	count, keys := map[string]int{}, map[string]string{}
	for _, got := range a.got {
		count[got.Notice.Key]++
		if was := keys[got.Notice.Key]; was != "" && was != got.Key {
			t.Errorf("%s came with the keys %s and %s", got.Notice.Key, was, got.Key)
		}
		keys[got.Notice.Key] = got.Key
	}
	extra := len(a.got) - len(count)
	if count["INC-1:1:opened"] == 0 || count["INC-2:1:opened"] == 0 || extra > 1 {
		t.Errorf("one fault gave %v", count)
	}
	if left := d.rows(&notice.Outbox); len(left) > 0 {
		t.Errorf("the outbox still holds %+v", left)
	}
}

func TestRestartKeepsOrderAndWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		a.errs = []error{errDown, errDown, errDown}
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		time.Sleep(time.Millisecond)
		d.tell(told("INC-1", 2, "resolved"))
		d.tell(told("INC-1", 3, "reopened"))
		synctest.Wait()
		d.stop()
		d.start()
		synctest.Wait()
		wantKeys(t, "right after the restart", a.keys(), "INC-1:1:opened")
		time.Sleep(time.Minute)
		synctest.Wait()
		keys := a.keys()
		wantKeys(t, "the last", keys[len(keys)-2:], "INC-1:2:resolved", "INC-1:3:reopened")
		d.stop()
	})
}

func TestChannelThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, b *fakeChannel) {
		a.errs = []error{errDown}
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		synctest.Wait()
		d.stop()
		d.channels, d.config = map[string]notice.Channel{"b": b}, d.config[1:]
		d.start()
		synctest.Wait()
		letters := d.rows(&notice.DeadLetters)
		if len(letters) != 1 || !strings.Contains(letters[0].LastError, "no channel of this name") || len(d.rows(&notice.Outbox)) != 0 {
			t.Errorf("dead letters: %+v", letters)
		}
		d.stop()
	})
}

func TestAWrongClockDelaysByAnHourAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		sent := notice.New(time.Now(), told("INC-1", 1, "opened"), "a")
		sent.NextAt = time.Now().AddDate(10, 0, 0)
		w, err := sent.Write()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.store.Commit(t.Context(), nil, []store.Write{w}); err != nil {
			t.Fatal(err)
		}
		d.start()
		time.Sleep(longestWait)
		synctest.Wait()
		wantKeys(t, "after an hour", a.keys(), "INC-1:1:opened")
		d.stop()
	})
}

func TestAFullDiskDoesNotStopSending(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		d.start()
		d.store.FailBefore(slices.Repeat([]error{errDown}, 12)...)
		for i := range 10 {
			d.tell(told("INC-1", i+1, "reopened"))
		}
		synctest.Wait()
		if n := len(a.keys()); n != 10 {
			t.Errorf("%d of 10 sent while nothing could be recorded", n)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if left := d.rows(&notice.Outbox); len(left) > 0 || len(a.keys()) != 10 {
			t.Errorf("with room again: %d sent, the outbox holds %v", len(a.keys()), left)
		}
		d.stop()
	})
}

// brokenOnce cannot say the customers once.
type brokenOnce struct {
	store.Reader
	done bool
}

func (b *brokenOnce) Customers(ctx context.Context, t *store.Table) iter.Seq2[string, error] {
	if b.done {
		return b.Reader.Customers(ctx, t)
	}
	b.done = true
	return func(yield func(string, error) bool) { yield("", errDown) }
}

func TestAnOutboxThatCannotBeReadIsReadAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		a.errs = []error{errDown}
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		synctest.Wait()
		d.stop()
		d.reader = &brokenOnce{Reader: d.store}
		d.start()
		d.tell(told("INC-2", 1, "opened"))
		synctest.Wait()
		wantKeys(t, "while the outbox cannot be read", a.keys(), "INC-1:1:opened", "INC-2:1:opened")
		time.Sleep(reloadEvery)
		synctest.Wait()
		wantKeys(t, "afterwards", a.keys(), "INC-1:1:opened", "INC-2:1:opened", "INC-1:1:opened")
		d.stop()
	})
}

func TestStopDoesNotWaitForAReceiverThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, d *desk, a, _ *fakeChannel) {
		a.during = func(ctx context.Context, _ Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}
		d.start()
		d.tell(told("INC-1", 1, "opened"))
		synctest.Wait()
		start := time.Now()
		d.stop()
		if took := time.Since(start); took != DefaultLimits().Grace {
			t.Errorf("stopping took %s, want %s", took, DefaultLimits().Grace)
		}
		if row := d.rows(&notice.Outbox)[0]; row.Attempts != 0 {
			t.Errorf("being cut off counted as a failure: %+v", row)
		}
	})
}
