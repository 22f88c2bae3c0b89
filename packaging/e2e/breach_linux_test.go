package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/collectortest"
)

// everyTwo lets disks be looked at every 2 s.
const everyTwo = "- match: {}\n  checks:\n    disk: {interval: 2s}\n"

// A disk that fills up is an incident within the check's interval and a second, is
// told by a signed webhook, ends by itself, and is the same incident when it is back.
func TestBreachToIncident(t *testing.T) {
	r := collectortest.Receive(t, nil)
	s := serve(t, options{policy: everyTwo, config: r.Config()})
	points := []string{tmpfs(t, 64), tmpfs(t, 64), tmpfs(t, 64), tmpfs(t, 64)}
	m := join(t, s, "", only("disk"))
	m.run()
	for _, p := range points {
		await(t, "the filesystem "+p, func() bool { return s.level(m.host, p) == "ok" })
	}
	var opened, told []time.Duration
	for _, p := range points {
		at := time.Now()
		fill(t, p, 1024)
		in := awaitState(t, s, p, "open")
		opened = append(opened, in.OpenedAt.Sub(at))
		told = append(told, arrival(t, r, in.Number, "opened").At.Sub(at))
	}
	slices.Sort(opened)
	slices.Sort(told)
	t.Logf("disk full to open incident: %s median, %s at most of %d; to the webhook: %s at most; disks are looked at every 2 s",
		seconds(opened[len(opened)/2]), seconds(opened[len(opened)-1]), len(opened), seconds(told[len(told)-1]))

	p := points[0]
	first := awaitState(t, s, p, "open")
	if first.Priority != "P2" || first.ResolveBy.IsZero() || first.HostName == "" || first.Customer != "example" {
		t.Errorf("the incident is %+v", first)
	}
	at := time.Now()
	empty(t, p)
	resolved := awaitState(t, s, p, "resolved")
	t.Logf("room again to resolved: %s", seconds(resolved.ResolvedAt.Sub(at)))
	if resolved.Ending != "fixed" {
		t.Errorf("it ended as %q", resolved.Ending)
	}
	fill(t, p, 1024)
	again := awaitState(t, s, p, "open")
	if again.Number != first.Number || again.Occurrences != 2 {
		t.Errorf("a second breach is %s with %d occurrences, not %s with 2", again.Number, again.Occurrences, first.Number)
	}
	empty(t, p)
	awaitState(t, s, p, "resolved")
	for _, event := range []string{"opened", "resolved", "reopened"} {
		arrival(t, r, first.Number, event)
	}
	open := 0
	for _, in := range s.incidents("") {
		if in.State == "open" {
			open++
		}
	}
	if figure := s.figure("wacht_collector_open_incidents"); open == 0 || figure != float64(open) {
		t.Errorf("%d incidents are open, and the metric says %v", open, figure)
	}
	if all := s.incidents(p); len(all) != 1 {
		t.Errorf("there are %d incidents about %s", len(all), p)
	}
	m.stop()
	s.stop()
}

// awaitState waits until the newest incident about an item is in a state.
func awaitState(t *testing.T, s *server, item, state string) collectortest.Incident {
	t.Helper()
	var out collectortest.Incident
	await(t, "an incident about "+item+" that is "+state, func() bool {
		for _, in := range s.incidents(item) {
			if string(in.State) == state {
				out = in
				return true
			}
		}
		return false
	})
	return out
}

// arrival waits for a notice of an incident.
func arrival(t *testing.T, r *collectortest.Receiver, number, event string) collectortest.Told {
	t.Helper()
	var out collectortest.Told
	await(t, "the webhook that "+number+" is "+event, func() bool {
		for _, told := range r.Told() {
			if told.Incident.Number == number && told.Event == event {
				out = told
				return true
			}
		}
		return false
	})
	return out
}
