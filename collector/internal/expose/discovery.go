package expose

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// group is a target group of Prometheus' HTTP service discovery.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func (h *handler) discovery(w http.ResponseWriter, r *http.Request) {
	hosts, err := h.Source.Hosts(r.Context(), h.customer)
	if err != nil {
		h.fail(w, "the list of hosts", err)
		return
	}
	address := h.Address
	if address == "" {
		address = r.Host
	}
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(one Host) bool { return !h.sees(one) })
	slices.SortFunc(hosts, func(a, b Host) int { return strings.Compare(a.ID, b.ID) })
	groups := make([]group, 0, len(hosts))
	for _, one := range hosts {
		groups = append(groups, group{Targets: []string{address}, Labels: targetLabels(one, h.Scheme)})
	}
	body, err := json.Marshal(groups)
	if err != nil {
		h.fail(w, "the list of hosts", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	h.write(w, body)
}

func (h *handler) write(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		h.Logger.Debug("An answer did not reach Prometheus", "error", err)
	}
}

var notLabel = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// targetLabels makes a host a target. All hosts share the collector's address, so that
// the instance must come from here; it is the id, as two hosts may have one name.
func targetLabels(one Host, scheme string) map[string]string {
	labels := map[string]string{
		"__scheme__":            scheme,
		"__metrics_path__":      "/metrics/hosts/" + url.PathEscape(one.ID),
		"instance":              one.ID,
		"__meta_wacht_customer": one.Customer,
		"__meta_wacht_site":     one.Site,
		"__meta_wacht_host_id":  one.ID,
		"__meta_wacht_host":     one.Name,
		"__meta_wacht_role":     one.Role,
		"__meta_wacht_os":       one.OS,
	}
	for name, value := range one.Labels {
		labels["__meta_wacht_label_"+notLabel.ReplaceAllString(name, "_")] = value
	}
	for name, value := range labels {
		labels[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return labels
}
