package auth

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How fast passwords can be tried: a few at once, then slowly. One address may stand
// for an office, so it has more than one account has from one address.
const (
	accountBurst = 5
	accountEvery = 30 * time.Second
	addressBurst = 30
	addressEvery = 5 * time.Second
	// paceKeys bounds the memory; each key takes some 200 bytes.
	paceKeys = 10_000
)

// TooManyError says that sign-in was tried too often, and when to try again.
type TooManyError struct {
	RetryAfter time.Duration
}

// Error tells a person to wait.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("there were too many attempts to sign in: try again in %d seconds", e.Seconds())
}

// Seconds is how long to wait, rounded up.
func (e *TooManyError) Seconds() int {
	return int((e.RetryAfter + time.Second - 1) / time.Second)
}

// pace counts attempts to sign in, per account and address and per address. It forgets
// in two generations, so that it stays small whoever tries whatever.
type pace struct {
	mu       sync.Mutex
	now, old map[string]*rate.Limiter
}

func newPace() *pace { return &pace{now: map[string]*rate.Limiter{}} }

// attempt takes one attempt, or says how long to wait.
func (p *pace) attempt(at time.Time, account, address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	address = network(address)
	both := p.limiter(account+"\x00"+address, accountEvery, accountBurst)
	all := p.limiter(address, addressEvery, addressBurst)
	for _, l := range []*rate.Limiter{both, all} {
		if tokens := l.TokensAt(at); tokens < 1 {
			return &TooManyError{RetryAfter: time.Duration((1 - tokens) / float64(l.Limit()) * float64(time.Second))}
		}
	}
	both.AllowN(at, 1)
	all.AllowN(at, 1)
	return nil
}

// succeeded forgets an account's failures from an address.
func (p *pace) succeeded(account, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := account + "\x00" + network(address)
	delete(p.now, key)
	delete(p.old, key)
}

func (p *pace) limiter(key string, every time.Duration, burst int) *rate.Limiter {
	if l := p.now[key]; l != nil {
		return l
	}
	l := p.old[key]
	if l == nil {
		l = rate.NewLimiter(rate.Every(every), burst)
	}
	if len(p.now) >= paceKeys {
		p.old, p.now = p.now, map[string]*rate.Limiter{}
	}
	p.now[key] = l
	return l
}

// network is what an attacker can't cheaply change: an IPv4 address, or the /64 of an
// IPv6 address, of which one connection has 2^64.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}
