package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
}

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

// worst orders hosts by what people must look at first; the revoked are last.
func worst(h *engine.HostView) int {
	switch {
	case !h.RevokedAt.IsZero():
		return -1
	case h.Silent:
		return 10
	}
	return severity(h.Level)
}

func severity(l rules.Level) int {
	return slices.Index([]rules.Level{rules.OK, rules.Unknown, rules.Stale, rules.Warning, rules.Critical}, l)
}

func (s *site) revoke(v *visit) error {
	if v.who.Role != auth.Admin {
		s.failPage(v, http.StatusForbidden, "")
		return nil
	}
	h, err := s.Backend.Host(v.r.Context(), v.in, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := s.Backend.Revoke(v.r.Context(), v.in, h.ID, v.who.Name); err != nil {
		return err
	}
	if err := s.Auth.Record(v.r.Context(), v.who, "host.revoke", h.ID, h.Customer, "name "+h.Name); err != nil {
		return err
	}
	return v.redirect("/hosts/" + url.PathEscape(h.ID))
}

func (s *site) addHost(v *visit) error {
	// The name by which the reader reaches the collector is the likeliest for agents too.
	host := (&url.URL{Host: v.r.Host}).Hostname()
	return s.render(v, http.StatusOK, "addhost", "hosts", v.lang.text("addhost.title"), host+":"+s.AgentsPort)
}
