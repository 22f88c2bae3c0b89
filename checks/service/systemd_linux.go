package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/wacht-io/wacht/checks"
)

// Names on the bus (org.freedesktop.systemd1(5)).
const (
	busName      = "org.freedesktop.systemd1"
	managerPath  = "/org/freedesktop/systemd1"
	managerIface = "org.freedesktop.systemd1.Manager"
	unitIface    = "org.freedesktop.systemd1.Unit"
	serviceIface = "org.freedesktop.systemd1.Service"
)

// refresh is how long what a unit is, rather than how it fares, is taken as known.
const refresh = 10 * time.Minute

// systemd asks systemd over the system bus. It opens one connection a run and
// subscribes to nothing: systemd's signals would wake the agent at every job.
type systemd struct {
	marker string // a folder that exists where systemd runs (sd_booted(3))
	now    func() time.Time
}

func newManager() manager { return systemd{"/run/systemd/system", time.Now} }

// unit is as ListUnits returns it.
type unit struct {
	Name, Description, LoadState, ActiveState, SubState, Followed string
	Path                                                          dbus.ObjectPath
	JobID                                                         uint32
	JobType                                                       string
	JobPath                                                       dbus.ObjectPath
}

// kind is what a unit is.
type kind struct {
	fileState string
	oneshot   bool
	restarts  bool // systemd may restart it, and counts that
	always    bool // it is to run whatever its end was
	daemon    bool // by its type it does not end by itself
	wantedBy  []string
	triggers  []string
}

// known is the Sample.
type known struct {
	at    time.Time
	kinds map[string]kind
}

// session is one connection with what was asked over it.
type session struct {
	conn   *dbus.Conn
	before map[string]kind
	kinds  map[string]kind
	active map[string]bool // all listed units that are active
}

func (m systemd) list(ctx context.Context, _ *checks.Env, q query) ([]service, any, error) {
	if _, err := os.Stat(m.marker); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("systemd does not run on this machine: %w", errNoManager)
	}
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the system bus: %w", err)
	}
	defer conn.Close()
	last, _ := q.last.(known)
	if m.now().Sub(last.at).Abs() > refresh {
		last = known{at: m.now()}
	}
	s := &session{conn: conn, before: last.kinds, kinds: make(map[string]kind), active: make(map[string]bool)}
	services, err := s.services(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	return services, known{last.at, s.kinds}, nil
}

func (s *session) services(ctx context.Context, q query) ([]service, error) {
	units, err := s.units(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("asking systemd for its units: %w", err)
	}
	for _, u := range units {
		s.active[u.Name] = u.ActiveState == "active" || u.ActiveState == "reloading"
	}
	if err := s.recognise(ctx, units, q.chosen()); err != nil {
		return nil, err
	}
	var out []service
	for _, name := range slices.Sorted(maps.Keys(s.kinds)) {
		u := units[slices.IndexFunc(units, func(u unit) bool { return u.Name == name })]
		if k := s.kinds[name]; q.chosen() || s.starts(k) {
			found, err := s.look(ctx, u, k, q.chosen())
			if err != nil {
				return nil, fmt.Errorf("asking systemd for %s: %w", name, err)
			}
			out = append(out, found)
		}
	}
	return append(out, missing(units, q)...), nil
}

// units lists what is loaded: all services, the targets that want them and what
// triggers them, or only those that were chosen.
func (s *session) units(ctx context.Context, q query) (units []unit, err error) {
	systemd := s.conn.Object(busName, managerPath)
	if q.chosen() {
		names := unique(q.units, withSuffix)
		err = systemd.CallWithContext(ctx, managerIface+".ListUnitsByNames", dbus.FlagNoAutoStart, names).Store(&units)
		return units, err
	}
	patterns := []string{"*.service", "*.target", "*.socket", "*.timer", "*.path"}
	err = systemd.CallWithContext(ctx, managerIface+".ListUnitsByPatterns", dbus.FlagNoAutoStart, []string{}, patterns).Store(&units)
	return units, err
}

func withSuffix(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".service"
}

// missing gives the chosen units that systemd does not have.
func missing(units []unit, q query) []service {
	var out []service
	for _, name := range unique(q.units, withSuffix) {
		found := slices.ContainsFunc(units, func(u unit) bool { return u.Name == name && u.LoadState == "loaded" })
		if !found {
			out = append(out, service{name: name, state: "not loaded", expected: true, why: "systemd has no such unit, or can't read it"})
		}
	}
	return out
}

// recognise finds out what the units are, from memory where that is fresh.
func (s *session) recognise(ctx context.Context, units []unit, chosen bool) error {
	for _, u := range units {
		if u.LoadState != "loaded" || !chosen && !strings.HasSuffix(u.Name, ".service") {
			continue
		}
		k, ok := s.before[u.Name]
		if !ok {
			var err error
			if k, err = s.kind(ctx, u); err != nil {
				return fmt.Errorf("asking systemd what %s is: %w", u.Name, err)
			}
		}
		s.kinds[u.Name] = k
	}
	return nil
}

func (s *session) kind(ctx context.Context, u unit) (k kind, err error) {
	var kindOf, restart string
	var requiredBy []string
	get := func(iface, name string, to any) {
		if err == nil {
			err = s.property(ctx, u.Path, iface, name, to)
		}
	}
	get(unitIface, "UnitFileState", &k.fileState)
	get(unitIface, "WantedBy", &k.wantedBy)
	get(unitIface, "RequiredBy", &requiredBy)
	get(unitIface, "TriggeredBy", &k.triggers)
	if strings.HasSuffix(u.Name, ".service") {
		get(serviceIface, "Type", &kindOf)
		get(serviceIface, "Restart", &restart)
	}
	k.wantedBy = append(k.wantedBy, requiredBy...)
	k.oneshot = kindOf == "oneshot"
	k.restarts = restart != "" && restart != "no"
	k.always = restart == "always" || restart == "on-success"
	k.daemon = kindOf != "" && kindOf != "simple" && kindOf != "exec" && kindOf != "idle" && !k.oneshot
	return k, err
}

// starts says whether systemd starts the unit by itself, as it is now: enabled, or
// made from a start script, and wanted by something that is active.
func (s *session) starts(k kind) bool {
	switch k.fileState {
	case "enabled", "enabled-runtime", "generated":
		return !k.oneshot && slices.ContainsFunc(k.wantedBy, func(name string) bool { return s.active[name] })
	}
	return false
}

// look tells how a unit fares.
func (s *session) look(ctx context.Context, u unit, k kind, chosen bool) (service, error) {
	out := service{
		name: u.Name, state: u.ActiveState + " (" + u.SubState + ")",
		active: running(u), failed: u.ActiveState == "failed", expected: true,
	}
	if !chosen && slices.ContainsFunc(k.triggers, func(name string) bool { return s.active[name] }) {
		out.expected = false
		out.why = "started by " + strings.Join(k.triggers, ", ")
	}
	if k.restarts {
		var n uint32
		if err := s.property(ctx, u.Path, serviceIface, "NRestarts", &n); err != nil {
			return out, err
		}
		out.restarts = new(float64(n))
	}
	if out.active || !out.expected || !strings.HasSuffix(u.Name, ".service") {
		return out, nil
	}
	err := s.inquest(ctx, u, k, &out)
	return out, err
}

// running says whether a unit does what it should. One that waits to be restarted
// does not.
func running(u unit) bool {
	switch u.ActiveState {
	case "active", "reloading", "refreshing":
		return true
	case "activating":
		return !strings.HasPrefix(u.SubState, "auto-restart")
	}
	return false
}

// property reads one property.
func (s *session) property(ctx context.Context, path dbus.ObjectPath, iface, name string, to any) error {
	var v dbus.Variant
	call := s.conn.Object(busName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, iface, name)
	if err := call.Store(&v); err != nil {
		return fmt.Errorf("property %s: %w", name, err)
	}
	if err := v.Store(to); err != nil {
		return fmt.Errorf("property %s: %w", name, err)
	}
	return nil
}
