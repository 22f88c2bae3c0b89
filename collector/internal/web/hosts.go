package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

type hostsData struct {
	Hosts             []engine.HostView
	Customers         []string
	Customer, Text    string
	All               int
	Critical, Warning int
	Silent            int
	// Waiting are those of the Hosts that wait for approval, not more than can be
	// approved at once.
	Waiting []engine.HostView
}

// maxApproved bounds the hosts that one press of a button approves.
const maxApproved = 500

func (s *site) hosts(v *visit) error {
	d := hostsData{Customer: v.r.URL.Query().Get("customer"), Text: strings.TrimSpace(v.r.URL.Query().Get("q"))}
	all, err := s.Backend.Hosts(v.r.Context(), v.in)
	if err != nil {
		return err
	}
	if d.Customers, err = s.Backend.Customers(v.r.Context(), v.in); err != nil {
		return err
	}
	d.All = len(all)
	for i := range all {
		if d.shows(&all[i]) {
			d.count(&all[i])
			d.Hosts = append(d.Hosts, all[i])
		}
	}
	for i := range d.Hosts {
		if waits(&d.Hosts[i]) && len(d.Waiting) < maxApproved {
			d.Waiting = append(d.Waiting, d.Hosts[i])
		}
	}
	slices.SortStableFunc(d.Hosts, func(a, b engine.HostView) int {
		return cmp.Or(worst(&b)-worst(&a), strings.Compare(a.Customer, b.Customer), strings.Compare(a.Name, b.Name))
	})
	return s.render(v, http.StatusOK, "hosts", "hosts", v.lang.text("hosts.title"), d)
}

func (d *hostsData) shows(h *engine.HostView) bool {
	if d.Customer != "" && h.Customer != d.Customer {
		return false
	}
	text := strings.ToLower(d.Text)
	for _, in := range []string{h.Name, h.Hostname, h.Site, h.Customer, h.Platform, string(h.Role)} {
		if strings.Contains(strings.ToLower(in), text) {
			return true
		}
	}
	return false
}

func (d *hostsData) count(h *engine.HostView) {
	switch {
	case h.Silent:
		d.Silent++
	case h.Critical > 0:
		d.Critical++
	case h.Warning > 0:
		d.Warning++
	}
}

// worst orders hosts by what people must look at first; the revoked are last, after
// those that wait.
func worst(h *engine.HostView) int {
	switch {
	case !h.RevokedAt.IsZero():
		return -2
	case h.Pending: // they stand above the list
		return -1
	case h.Silent:
		return 10
	}
	return severity(h.Level)
}

func severity(l rules.Level) int {
	return slices.Index([]rules.Level{rules.OK, rules.Unknown, rules.Stale, rules.Warning, rules.Critical}, l)
}

// waits says whether a host may be approved.
func waits(h *engine.HostView) bool { return h.Pending && h.RevokedAt.IsZero() }

func (s *site) revoke(v *visit) error {
	id := v.r.PathValue("id")
	return s.admit(v, "/hosts/"+url.PathEscape(id), "host.revoke", s.Backend.Revoke, id)
}

func (s *site) approve(v *visit) error {
	id := v.r.PathValue("id")
	return s.admit(v, "/hosts/"+url.PathEscape(id), "host.approve", s.Backend.Approve, id)
}

// approveSeen approves the hosts that the reader was shown, and none that came since.
func (s *site) approveSeen(v *visit) error {
	if v.r.PostFormValue("host") == "" { // none were named, or the form can't be read
		s.failPage(v, http.StatusBadRequest, "")
		return nil
	}
	ids := v.r.Form["host"]
	return s.admit(v, "/hosts", "host.approve", s.Backend.Approve, ids[:min(len(ids), maxApproved)]...)
}

// admit decides for an admin whether hosts may come in, and records it.
func (s *site) admit(v *visit, next, action string, do func(ctx context.Context, sc api.Scope, id, by string) error, ids ...string) error {
	if v.who.Role != auth.Admin {
		s.failPage(v, http.StatusForbidden, "")
		return nil
	}
	for _, id := range ids {
		h, err := s.Backend.Host(v.r.Context(), v.in, id)
		if err != nil {
			return err
		}
		if err := do(v.r.Context(), v.in, h.ID, v.who.Name); err != nil {
			return err
		}
		if err := s.Auth.Record(v.r.Context(), v.who, action, h.ID, h.Customer, "name "+h.Name); err != nil {
			return err
		}
	}
	return v.redirect(next)
}

func (s *site) addHost(v *visit) error {
	// The name by which the reader reaches the collector is the likeliest for agents too.
	host := (&url.URL{Host: v.r.Host}).Hostname()
	return s.render(v, http.StatusOK, "addhost", "hosts", v.lang.text("addhost.title"), host+":"+s.AgentsPort)
}
