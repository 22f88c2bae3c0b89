package containers

import (
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/wacht-io/wacht/checks"
)

// maxHealthBytes of what a health check said last are shown.
const maxHealthBytes = 1024

// state is what is known of a container.
type state struct {
	id, name string
	image    string // its id
	status   string // in the engine's words
	policy   string // for restarts, "" for none

	running, paused, restarting bool
	expected, oom               bool
	ended                       bool // it ran and does no more
	exitCode                    int
	restarts                    int
	startedAt                   time.Time
	health, healthSaid          string
}

// stateOf takes what matters of an engine's answer, of which anything may be missing.
func stateOf(of listed, c *container.InspectResponse) state {
	s := state{id: of.id, name: of.name, image: c.Image, restarts: max(c.RestartCount, 0)}
	if c.HostConfig != nil {
		s.policy = string(c.HostConfig.RestartPolicy.Name)
	}
	if c.State == nil {
		return s
	}
	s.status = string(c.State.Status)
	s.paused = c.State.Paused
	s.restarting = c.State.Restarting
	s.running = (c.State.Running || c.State.Paused) && !c.State.Restarting
	s.oom, s.exitCode = c.State.OOMKilled, c.State.ExitCode
	s.startedAt, _ = time.Parse(time.RFC3339Nano, c.State.StartedAt) // zero when it never started
	s.ended = !s.running && s.startedAt.Year() > 1
	s.expected = s.shouldRun()
	if h := c.State.Health; h != nil && s.running {
		s.health = string(h.Status)
		if n := len(h.Log); n > 0 && h.Log[n-1] != nil {
			s.healthSaid = h.Log[n-1].Output
		}
	}
	return s
}

// shouldRun goes by the restart policy
// (https://docs.docker.com/engine/containers/start-containers-automatically/). One that
// was made and never started is not expected to run.
func (s *state) shouldRun() bool {
	switch s.policy {
	case "always", "unless-stopped":
		return s.running || s.restarting || s.ended
	case "on-failure":
		return s.ended && s.exitCode != 0
	default:
		return false
	}
}

// note finds out from the counts of the run before whether the container was restarted
// since: Podman does not say that it is about to.
func (s *state) note(before map[string]int) {
	if n, known := before[s.id]; known && s.restarts > n {
		s.restarting = true
	}
}

// result makes a result of a container.
func (s *state) result(now time.Time, images map[string]time.Time) checks.Result {
	l := figures{}.
		gauge("running", truth(s.running)).
		gauge("expected", truth(s.expected)).
		gauge("restarting", truth(s.restarting)).
		gauge("paused", truth(s.paused)).
		gauge("oom_killed", truth(s.oom)).
		counter("restarts_total", float64(s.restarts))
	if s.ended {
		l = l.gauge("exit_code", float64(s.exitCode))
	}
	if s.running && s.startedAt.Year() > 1 {
		l = l.gauge("running_seconds", max(now.Sub(s.startedAt).Seconds(), 0))
	}
	if s.health == "healthy" || s.health == "unhealthy" {
		l = l.gauge("healthy", truth(s.health == "healthy"))
	}
	if made, ok := images[s.image]; ok && dated(made) {
		l = l.gauge("image_age_seconds", max(now.Sub(made).Seconds(), 0))
	}
	r := checks.Result{Item: s.name, Summary: line(s.summary(now)), Metrics: l}
	if s.health == "unhealthy" {
		r.Evidence = cut(strings.TrimSpace(s.healthSaid), maxHealthBytes)
	}
	return r
}

// dated says whether an image's date means something: images that are built to be the
// same each time have one near 1970 or 1980, before there were images.
func dated(made time.Time) bool { return made.Year() >= 2013 }

func (s *state) summary(now time.Time) string {
	parts := []string{s.status}
	if s.status == "" {
		parts[0] = "in a state that the engine does not tell"
	}
	switch {
	case s.running && s.startedAt.Year() > 1:
		parts[0] += " for " + now.Sub(s.startedAt).Round(time.Second).String()
	case s.ended:
		parts[0] += fmt.Sprintf(" with code %d", s.exitCode)
	}
	if s.oom {
		parts = append(parts, "killed for want of memory")
	}
	if s.health != "" && s.health != "none" {
		parts = append(parts, s.health)
	}
	if s.restarts > 0 {
		parts = append(parts, fmt.Sprintf("restarted %d times", s.restarts))
	}
	if s.expected && !s.running {
		parts = append(parts, "should run: "+s.reason())
	}
	return strings.Join(parts, ", ")
}

func (s *state) reason() string {
	if s.policy == "" || s.policy == "no" {
		return "it is named by include"
	}
	return "its restart policy is " + s.policy
}

// absent tells of a container that is asked for by name and is not there.
func absent(name string) checks.Result {
	return checks.Result{
		Item: name, Summary: "there is no container of this name, and include names it",
		Metrics: figures{}.gauge("running", 0).gauge("expected", 1).gauge("restarting", 0),
	}
}
