package apitest

import (
	"fmt"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// The two customers of Demo, neither of which may see what is the other's.
const (
	Bakery = "bakery"
	Notary = "notary"
)

const (
	kib = 1 << 10
	gib = 1 << 30
)

// Demo returns a Backend as it may look at a time: two customers with hosts in every
// condition, incidents of every priority and state, and a problem.
func Demo(now time.Time) (*Backend, error) {
	b := New(Bakery, Notary)
	for _, h := range []engine.HostDetail{fileServer(now), webServer(now), laptop(now), notaryServer(now), revoked(now), pending(now)} {
		b.PutHost(h)
	}
	for _, s := range story(now) {
		if _, err := b.Handle(s.customer, s.at, s.event); err != nil {
			return nil, fmt.Errorf("telling the story of the demo: %w", err)
		}
		if t, ok := s.event.(desk.CheckTransition); ok {
			b.PutTransition(engine.TransitionView{
				Host: t.Subject.HostID, Check: t.Subject.Check, Item: t.Subject.Item, Transition: t.Transition, Decision: "opened an incident",
			})
		}
	}
	return b, nil
}

type step struct {
	customer string
	at       time.Time
	event    desk.Event
}

func story(now time.Time) []step {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	backup := breach(Bakery, "h-web", "web-1", "http", "https://shop.example.com", ago(26*time.Hour), "{{item}} does not answer", "status 502, want 200")
	disk := breach(Bakery, "h-files", "files-1", "disk", "/srv/data", ago(47*time.Minute), "/srv/data is nearly full", "3.1 GiB of 500 GiB free (0.6%)")
	disk.Evidence = "largest: /srv/data/scans 310 GiB\nlargest: /srv/data/mail 121 GiB"
	over := backup
	over.Transition = rules.Transition{Rule: "failed", From: rules.Critical, To: rules.OK, At: ago(25 * time.Hour), Why: "status == \"ok\""}
	return []step{
		{Bakery, ago(26 * time.Hour), backup},
		{Bakery, ago(25 * time.Hour), over},
		{Bakery, ago(5 * time.Hour), report(Bakery, "The label printer prints blank labels", "low", "medium", "Femke, shop")},
		{Notary, ago(3 * time.Hour), report(Notary, "Can't sign in to the deed archive", "medium", "high", "Mr De Wit")},
		{Notary, ago(2 * time.Hour), report(Notary, "Please add a mailbox for the new clerk", "low", "low", "Mr De Wit")},
		{Bakery, ago(47 * time.Minute), disk},
		{Bakery, ago(40 * time.Minute), desk.Act{Number: "INC-000005", By: "anna", Action: desk.Take}},
		{Bakery, ago(38 * time.Minute), desk.Act{Number: "INC-000005", By: "anna", Action: desk.Comment, Text: "The scanner writes uncompressed TIFF since Monday.\nMoving last month to the archive."}},
		{Bakery, ago(9 * time.Minute), desk.HostSilent{Host: "h-web", HostName: "web-1", Site: "Utrecht", Role: "server", Since: ago(14 * time.Minute)}},
		{Bakery, ago(30 * time.Hour), desk.ForecastRaised{
			Subject:  rules.Subject{Customer: Bakery, Site: "Utrecht", Host: "files-1", HostID: "h-files", Check: "disk", Item: "/var"},
			HostName: "files-1", Rule: "full", Title: "/var will be full", Category: "hardware", Impact: "medium", Urgency: "low",
			ReachedAt: now.Add(17 * 24 * time.Hour), Why: "free_bytes falls by 1.9 GiB a day and reaches 0 in 17 days (R² 0.97 over 14d)",
		}},
	}
}

func breach(customer, id, name, check, item string, at time.Time, title, summary string) desk.CheckTransition {
	why := "free_bytes < min(0.05 * size_bytes, 20 * GiB): free_bytes = 3.1 GiB, size_bytes = 500 GiB"
	rule := "space"
	if check == "http" {
		why, rule, title = `status == "critical" for 2 runs`, "failed", item+" does not answer"
	}
	return desk.CheckTransition{
		Subject:  rules.Subject{Customer: customer, Site: "Utrecht", Host: name, HostID: id, Role: "server", Check: check, Item: item},
		HostName: name, Title: title, Category: "hardware", Impact: "high", Urgency: "medium", Opens: "critical", Makes: "incident", Summary: summary,
		Transition: rules.Transition{Rule: rule, From: rules.OK, To: rules.Critical, At: at, Why: why},
	}
}

func report(customer, title, impact, urgency, reporter string) desk.Report {
	return desk.Report{Title: title, Customer: customer, Site: "Utrecht", Impact: impact, Urgency: urgency, Reporter: reporter, Description: "Since this morning, on all machines of the front office."}
}

func host(id, customer, name string, role inventory.Role, now time.Time) engine.HostView {
	return engine.HostView{
		Host: inventory.Host{
			ID: id, Customer: customer, Site: "Utrecht", Name: name, Hostname: name + ".example.com", Role: role,
			OS: "linux", Arch: "amd64", Platform: "debian 12.7", Kernel: "6.1.0-25-amd64", AgentVersion: "0.1.0",
			BootedAt: now.Add(-43 * 24 * time.Hour), JoinedAt: now.Add(-90 * 24 * time.Hour), CertUntil: now.Add(27 * 24 * time.Hour),
			KeySHA256: []byte("a digest of 32 bytes, or so I say"), Fingerprint: [][]byte{[]byte("serial")}, Visit: 12,
		},
		Connected: true, LastSeen: now.Add(-4 * time.Second), SkewSeconds: 0.02,
	}
}

// fileServer has one of everything.
func fileServer(now time.Time) engine.HostDetail {
	h := engine.HostDetail{HostView: host("h-files", Bakery, "files-1", inventory.Server, now)}
	h.Labels = map[string]string{"backup": "nightly", "rack": "A3"}
	h.SkewSeconds = -93
	h.Findings = []engine.Finding{{At: now.Add(-26 * time.Hour), Count: 12, Text: "12 runs are lost: the agent ended before they were on its disk"}}
	h.Refused = []engine.RefusedTask{{Check: "command", Instance: "backup", Reason: "the machine's file allows no programs"}}
	disk := func(item string, level rules.Level, size, free float64, summary string) engine.StateView {
		return state(now, "disk", item, level, summary,
			bytesOf("disk", "size_bytes", size), bytesOf("disk", "free_bytes", free),
			gauge("disk", "free_ratio", "ratio", free/size), gauge("disk", "inodes_free_ratio", "ratio", 0.93), gauge("disk", "readonly", "boolean", 0))
	}
	full := disk("/srv/data", rules.Critical, 500*gib, 3.1*gib, "3.1 GiB of 500 GiB free (0.6%)")
	full.Evidence = "largest: /srv/data/scans 310 GiB\nlargest: /srv/data/mail 121 GiB"
	full.Since = now.Add(-47 * time.Minute)
	written := gauge("diskio", "written_bytes_total", "bytes", 48*gib)
	written.Type = "counter"
	mode := func(name string, value float64) engine.MetricView {
		m := gauge("cpu", "mode_ratio", "ratio", value)
		m.Labels = map[string]string{"mode": name}
		return m
	}
	h.Checks = []engine.StateView{
		state(now, "agent", "", rules.OK, "18.2 MiB resident, nothing dropped", bytesOf("agent", "resident_bytes", 18.2*kib*kib)),
		state(now, "cpu", "", rules.OK, "busy 12% of 8 processors", gauge("cpu", "used_ratio", "ratio", 0.124), mode("user", 0.09), mode("system", 0.034), gauge("cpu", "load1", "tasks", 0.72), gauge("cpu", "processors", "processors", 8)),
		disk("/", rules.OK, 60*gib, 41*gib, "41.0 GiB of 60.0 GiB free (68%)"),
		full,
		disk("/var", rules.Warning, 100*gib, 9.2*gib, "9.2 GiB of 100 GiB free (9.2%)"),
		state(now, "diskio", "sda", rules.OK, "3 ms a write", gauge("diskio", "write_await_seconds", "seconds", 0.0031), gauge("diskio", "utilisation_ratio", "ratio", 0.08), written),
		state(now, "memory", "", rules.OK, "11.4 GiB of 15.6 GiB available", bytesOf("memory", "total_bytes", 15.6*gib), bytesOf("memory", "available_bytes", 11.4*gib), gauge("memory", "available_ratio", "ratio", 0.73)),
		state(now, "ping", "192.0.2.1", rules.OK, "0.4 ms, nothing lost", gauge("ping", "rtt_seconds", "seconds", 0.00041), gauge("ping", "loss_ratio", "ratio", 0)),
		stale(state(now, "smart", "WD-WX32A8", rules.Stale, "41 °C, no errors", gauge("smart", "temperature_celsius", "celsius", 41)), now),
		state(now, "uptime", "", rules.Unknown, "the boot time can't be read: permission denied"),
	}
	return counted(h)
}

func stale(s engine.StateView, now time.Time) engine.StateView {
	s.LastSeen, s.Since = now.Add(-3*time.Hour), now.Add(-2*time.Hour)
	return s
}

func webServer(now time.Time) engine.HostDetail {
	h := engine.HostDetail{HostView: host("h-web", Bakery, "web-1", inventory.Server, now)}
	h.Connected, h.Silent, h.LastSeen = false, true, now.Add(-14*time.Minute)
	h.Checks = []engine.StateView{stale(state(now, "cpu", "", rules.Stale, "busy 3% of 2 processors", gauge("cpu", "used_ratio", "ratio", 0.03)), now)}
	return counted(h)
}

func laptop(now time.Time) engine.HostDetail {
	h := engine.HostDetail{HostView: host("h-lap", Bakery, "laptop-femke", inventory.Workstation, now)}
	h.OS, h.Platform, h.Kernel = "windows", "Windows 11 Pro 24H2", "10.0.26100"
	h.Connected, h.LastSeen, h.GoodbyeAt, h.Goodbye = false, now.Add(-15*time.Hour), now.Add(-15*time.Hour), "sleep"
	h.Checks = []engine.StateView{state(now, "disk", `C:\`, rules.OK, "120 GiB of 238 GiB free (50%)", gauge("disk", "free_ratio", "ratio", 0.5))}
	return counted(h)
}

func notaryServer(now time.Time) engine.HostDetail {
	h := engine.HostDetail{HostView: host("h-deeds", Notary, "deeds-1", inventory.Server, now)}
	h.Checks = []engine.StateView{state(now, "memory", "", rules.OK, "3.1 GiB of 3.8 GiB available", gauge("memory", "available_ratio", "ratio", 0.81))}
	return counted(h)
}

func revoked(now time.Time) engine.HostDetail {
	h := engine.HostDetail{HostView: host("h-old", Notary, "deeds-0", inventory.Server, now)}
	h.Connected, h.LastSeen, h.RevokedAt = false, now.Add(-400*time.Hour), now.Add(-399*time.Hour)
	return h
}

func pending(now time.Time) engine.HostDetail {
	h := engine.HostDetail{HostView: host("h-new", Bakery, "till-3", inventory.Workstation, now)}
	h.Connected, h.Pending, h.JoinedAt, h.LastSeen = false, true, now.Add(-3*time.Minute), now.Add(-time.Minute)
	return h
}

func state(now time.Time, check, item string, level rules.Level, summary string, metrics ...engine.MetricView) engine.StateView {
	s := engine.StateView{
		Check: check, Item: item, Level: level, Since: now.Add(-9 * 24 * time.Hour), Summary: summary,
		LastSeen: now.Add(-4 * time.Second), Metrics: metrics,
	}
	if level == rules.Unknown {
		s.Status = checks.Unknown
	}
	return s
}

func gauge(check, name, unit string, value float64) engine.MetricView {
	return engine.MetricView{Name: name, Exposed: "wacht_" + check + "_" + name, Type: "gauge", Unit: unit, Value: value}
}

func bytesOf(check, name string, value float64) engine.MetricView {
	return gauge(check, name, "bytes", value)
}

// counted sets a host's counts from its check states.
func counted(h engine.HostDetail) engine.HostDetail {
	worst := 0
	for _, s := range h.Checks {
		h.States++
		switch s.Level {
		case rules.Critical:
			h.Critical++
		case rules.Warning:
			h.Warning++
		}
		if rank := []int{0, 3, 4, 1, 2}[s.Level]; rank > worst {
			worst, h.Level = rank, s.Level
		}
	}
	return h
}
