package collectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/wacht-io/wacht/collector/internal/admin"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/engine"
)

// Client asks a running collector, of this process or another, through its local
// socket and, for metrics and PromQL, through its web address.
type Client struct {
	// DataDir is the collector's data folder, where its socket is.
	DataDir string
	// WebAddr is the address of pages and API.
	WebAddr string
}

var errNotRunning = errors.New("no collector runs on this data folder")

func (c Client) dial(ctx context.Context) (*admin.Client, error) {
	a, running := admin.Dial(ctx, c.DataDir)
	if !running {
		return nil, fmt.Errorf("%s: %w", c.DataDir, errNotRunning)
	}
	return a, nil
}

// Token makes a token that as many hosts may join with, without approval.
func (c Client) Token(ctx context.Context, customer, site string, uses int) (string, error) {
	a, err := c.dial(ctx)
	if err != nil {
		return "", err
	}
	return a.CreateToken(ctx, admin.TokenOrder{Customer: customer, Site: site, Uses: uses, TTL: time.Hour, NoApproval: true})
}

// APIToken makes a token for the API and PromQL, of role admin or engineer.
func (c Client) APIToken(ctx context.Context, role string) (string, error) {
	a, err := c.dial(ctx)
	if err != nil {
		return "", err
	}
	return a.CreateAPIToken(ctx, admin.APITokenOrder{Name: "test-" + strconv.FormatInt(time.Now().UnixNano(), 36), Role: role})
}

// Incident is an incident as the API answers it.
type Incident = incident.Incident

// Incidents lists all incidents there are, without their timelines.
func (c Client) Incidents(ctx context.Context) ([]Incident, error) {
	a, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	var out []Incident
	query := url.Values{"state": {"all"}, "limit": {"500"}}
	for {
		var page struct {
			Incidents []Incident `json:"incidents"`
			Next      string     `json:"next"`
		}
		if err := a.Get(ctx, "/api/v1/incidents", query, &page); err != nil {
			return nil, fmt.Errorf("listing incidents: %w", err)
		}
		out = append(out, page.Incidents...)
		if page.Next == "" {
			return out, nil
		}
		query.Set("cursor", page.Next)
	}
}

// Incident returns one incident with its timeline.
func (c Client) Incident(ctx context.Context, number string) (Incident, error) {
	var out Incident
	a, err := c.dial(ctx)
	if err == nil {
		err = a.Get(ctx, "/api/v1/incidents/"+url.PathEscape(number), nil, &out)
	}
	if err != nil {
		return out, fmt.Errorf("reading incident %s: %w", number, err)
	}
	return out, nil
}

// Host is a host with its check states.
type Host = engine.HostDetail

// Host returns one host by id.
func (c Client) Host(ctx context.Context, id string) (Host, error) {
	var out Host
	a, err := c.dial(ctx)
	if err == nil {
		err = a.Get(ctx, "/api/v1/hosts/"+url.PathEscape(id), nil, &out)
	}
	if err != nil {
		return out, fmt.Errorf("reading host %s: %w", id, err)
	}
	return out, nil
}

// Metrics returns the collector's own metrics: values of counters and gauges summed
// over their labels, and of histograms name_count and name_sum.
func (c Client) Metrics(ctx context.Context) (map[string]float64, error) {
	out := map[string]float64{}
	err := c.get(ctx, "/metrics", "", func(r io.Reader) error {
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(r)
		for name, f := range families {
			for _, m := range f.GetMetric() {
				out[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
				if h := m.GetHistogram(); h != nil {
					out[name+"_count"] += float64(h.GetSampleCount())
					out[name+"_sum"] += h.GetSampleSum()
				}
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the collector's metrics: %w", err)
	}
	return out, nil
}

// Sample is one value of a series in history.
type Sample struct {
	// AtMillis is in milliseconds of the Unix epoch.
	AtMillis int64
	Value    float64
}

// Series is a series of history with its samples in order of time.
type Series struct {
	Labels  map[string]string
	Samples []Sample
}

// Query evaluates a PromQL expression that gives a matrix, such as m[10m], at a time.
// The token is an API token.
func (c Client) Query(ctx context.Context, token, expr string, at time.Time) ([]Series, error) {
	var answer struct {
		Data struct {
			ResultType string       `json:"resultType"`
			Result     model.Matrix `json:"result"`
		} `json:"data"`
	}
	query := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	err := c.get(ctx, "/api/v1/query?"+query.Encode(), token, func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&answer)
	})
	if err != nil {
		return nil, fmt.Errorf("asking history for %s: %w", expr, err)
	}
	out := make([]Series, len(answer.Data.Result))
	for i, s := range answer.Data.Result {
		out[i].Labels = map[string]string{}
		for name, value := range s.Metric {
			out[i].Labels[string(name)] = string(value)
		}
		for _, p := range s.Values {
			out[i].Samples = append(out[i].Samples, Sample{AtMillis: int64(p.Timestamp), Value: float64(p.Value)})
		}
	}
	return out, nil
}

func (c Client) get(ctx context.Context, path, token string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.WebAddr+path, http.NoBody)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("the collector answered %s: %s", resp.Status, text)
	}
	return read(resp.Body)
}
