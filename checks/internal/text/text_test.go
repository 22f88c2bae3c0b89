package text_test

import (
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks/internal/text"
)

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 20: "64 MiB",
		12<<30 + 300<<20: "12.3 GiB", 1<<30 - 1: "1 GiB", 100<<30 + 1: "100 GiB", 1 << 40: "1 TiB", 1<<64 - 1: "16 EiB",
	} {
		if got := text.Bytes(n); got != want {
			t.Errorf("%d is written %q, not %q", n, got, want)
		}
	}
	if got := text.Bytes(0.4); got != "0 B" {
		t.Errorf("0.4 is written %q", got)
	}
}

func TestPercent(t *testing.T) {
	for ratio, want := range map[float64]string{0: "0 %", 0.0004: "0.0 %", 0.031: "3.1 %", 0.0996: "10 %", 0.244: "24 %", 1: "100 %"} {
		if got := text.Percent(ratio); got != want {
			t.Errorf("%g is written %q, not %q", ratio, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 250 * time.Millisecond: "250 ms", time.Second: "1 s", 190 * time.Second: "3 m 10 s", time.Hour: "1 h",
		40*24*time.Hour + 2*time.Hour + 5*time.Minute: "40 d 2 h", 24*time.Hour + time.Second: "1 d",
	} {
		if got := text.Duration(d); got != want {
			t.Errorf("%v is written %q, not %q", d, got, want)
		}
	}
}
