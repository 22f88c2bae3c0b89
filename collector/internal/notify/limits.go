package notify

import "time"

// Limits say how hard the sender tries.
type Limits struct {
	// Workers is how many deliveries of a channel are under way at once, where the
	// channel does not say. With one, a fault repeats at most one delivery.
	Workers int
	// FirstRetry is the wait after the first failure; it doubles up to MaxRetry.
	FirstRetry, MaxRetry time.Duration
	// A delivery is dead after MaxAttempts failures, or when GiveUp has passed.
	MaxAttempts int
	GiveUp      time.Duration
	// Grace is how long deliveries under way may take when the sender stops.
	Grace time.Duration
}

// DefaultLimits keep trying for a day, in the end every quarter of an hour.
func DefaultLimits() Limits {
	return Limits{
		Workers: 1, FirstRetry: time.Second, MaxRetry: 15 * time.Minute,
		MaxAttempts: 150, GiveUp: 24 * time.Hour, Grace: 5 * time.Second,
	}
}

// wait is the time to the next attempt after so many failures. Half of it is
// jitter, in [0,1), so that many deliveries do not come back at the same moment.
func (l Limits) wait(failures int, jitter float64) time.Duration {
	wait := l.FirstRetry
	for range failures - 1 {
		if wait >= l.MaxRetry {
			break
		}
		wait *= 2
	}
	wait = min(wait, l.MaxRetry)
	return wait/2 + time.Duration(jitter*float64(wait/2))
}

// exhausted says whether a delivery has failed for good.
func (l Limits) exhausted(now time.Time, d Delivery) bool {
	return d.Attempts >= l.MaxAttempts || now.Sub(d.CreatedAt) >= l.GiveUp
}
