package ingest

import (
	"net"
	"testing"
)

func TestStrangersAreBounded(t *testing.T) {
	d := newDoors(nil)
	visitors := make([]*visitor, maxStrangers+1)
	for i := range visitors {
		raw, other := net.Pipe()
		t.Cleanup(func() { _ = raw.Close(); _ = other.Close() })
		visitors[i] = &visitor{raw: raw}
	}
	for _, v := range visitors[:maxStrangers] {
		if over := d.enter(v); over != nil {
			t.Fatal("somebody was put out below the bound")
		}
	}
	if over := d.enter(visitors[maxStrangers]); over != visitors[0] {
		t.Fatal("over the bound the first stays")
	}
	for _, v := range visitors {
		d.leave(v)
	}
	if len(d.inside) != 0 {
		t.Fatalf("everybody left, and %d stay known", len(d.inside))
	}
}
