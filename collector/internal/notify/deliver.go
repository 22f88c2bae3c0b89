package notify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// longestWait is above every wait that is meant; a NextAt beyond it was made by a
// clock that stood wrong.
const longestWait = time.Hour

// deliver tries until a delivery is sent or dead; false means that the sender stops.
func (s *Sender) deliver(r *running, out *outlet, d Delivery) bool {
	for {
		if !sleep(r.wait, min(time.Until(d.NextAt), longestWait)) {
			return false
		}
		tried, err := s.attempt(r, out, d)
		switch {
		case err == nil && tried:
			return true
		case !tried || r.send.Err() != nil:
			// Cut off by the stop: whether it was taken is not known, and it stays.
			return false
		}
		if !s.failed(&d, err) {
			return true
		}
	}
}

// sleep waits, and says whether to go on.
func sleep(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt sends once, when one of the channel's workers is free, and records a
// success before the worker is: a fault repeats at most one delivery a worker.
func (s *Sender) attempt(r *running, out *outlet, d Delivery) (tried bool, err error) {
	select {
	case out.slots <- struct{}{}:
		defer func() { <-out.slots }()
	case <-r.wait.Done():
		return false, nil
	}
	if err := out.channel.Send(r.send, d); err != nil {
		return true, err
	}
	s.sent(d)
	return true, nil
}

// sent records the success, and waits for the record; but not for a disk that fails.
func (s *Sender) sent(d Delivery) {
	s.metrics.attempts.WithLabelValues(d.Channel, sent).Inc()
	s.metrics.seconds.WithLabelValues(d.Channel).Observe(time.Since(d.CreatedAt).Seconds())
	<-s.recorder.add(d.Delete())
	s.forget(d)
}

// failed notes a failure and says whether to try again.
func (s *Sender) failed(d *Delivery, err error) bool {
	now := time.Now()
	d.Attempts++
	failure, known := errors.AsType[*notice.SendError](err)
	if (known && failure.Permanent) || s.opt.Limits.exhausted(now, *d) {
		s.bury(*d, err)
		return false
	}
	wait := s.opt.Limits.wait(d.Attempts, s.opt.Jitter())
	if known {
		wait = max(wait, failure.After)
	}
	d.NextAt, d.LastError = now.Add(wait), err.Error()
	s.metrics.attempts.WithLabelValues(d.Channel, failed).Inc()
	s.log.Warn("a delivery failed", "channel", d.Channel, "number", d.Notice.About().Number,
		"event", d.Notice.Event, "attempts", d.Attempts, "next", d.NextAt, "error", err)
	if w, err := d.Write(); err == nil {
		s.recorder.add(w)
	}
	return true
}

// bury moves a delivery to the dead letters and tells the fallback of its channel.
func (s *Sender) bury(d Delivery, err error) {
	// Forgotten first: once it is among the dead letters somebody may retry it.
	s.forget(d)
	writes := []store.Write{d.Delete()}
	d.State, d.DeadAt, d.NextAt, d.LastError = notice.Dead, time.Now(), time.Time{}, err.Error()
	s.metrics.attempts.WithLabelValues(d.Channel, dead).Inc()
	s.log.Error("a delivery is dead", "channel", d.Channel, "customer", d.Notice.About().Customer,
		"number", d.Notice.About().Number, "event", d.Notice.Event, "id", d.ID, "attempts", d.Attempts, "error", err)
	if w, err := d.Write(); err == nil {
		writes = append(writes, w)
	}
	fallback := s.fallbacks[d.Channel]
	// No fallback of a fallback: two channels would tell each other for ever.
	if fallback == "" || d.Notice.Event == notice.Undelivered {
		<-s.recorder.add(writes...)
		return
	}
	instead := d.Instead(d.DeadAt, fallback)
	if w, err := instead.Write(); err == nil {
		writes = append(writes, w)
	}
	<-s.recorder.add(writes...)
	s.Wake([]Delivery{instead})
}

// DeadLetters yields what nobody tries to deliver any more, customer by customer.
func (s *Sender) DeadLetters(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		for row, err := range (store.Typed[Delivery]{Table: &notice.DeadLetters}).ScanAll(ctx, s.opt.Reader) {
			if !yield(row.Value, err) {
				return
			}
		}
	}
}

// Retry gives a dead letter another day. The error is store.ErrNotFound when there is
// none of this id.
func (s *Sender) Retry(ctx context.Context, customer, id string) error {
	d, err := (store.Typed[Delivery]{Table: &notice.DeadLetters}).Get(ctx, s.opt.Reader, customer, id)
	if err != nil {
		return fmt.Errorf("reading dead letter %s: %w", id, err)
	}
	gone := d.Delete()
	d.State, d.DeadAt, d.Attempts, d.CreatedAt = notice.Pending, time.Time{}, 0, time.Now()
	again, err := d.Write()
	if err != nil {
		return err
	}
	if err := s.opt.Commit.Commit(ctx, []store.Write{gone, again}); err != nil {
		return fmt.Errorf("retrying dead letter %s: %w", id, err)
	}
	s.Wake([]Delivery{d})
	return nil
}
