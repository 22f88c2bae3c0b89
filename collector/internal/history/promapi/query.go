package promapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"
)

var errTruncated = errors.New("results truncated due to limit")

// queryData is the data of an answer to a query.
type queryData struct {
	value parser.Value
	stats stats.QueryStats
}

func (h *handler) query(r *http.Request) (answer, error) {
	at, err := timeParam(r, "time", time.Now())
	if err != nil {
		return answer{}, err
	}
	return h.run(r, func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return h.api.engine.NewInstantQuery(ctx, h.store, opts, r.FormValue("query"), at)
	})
}

func (h *handler) queryRange(r *http.Request) (answer, error) {
	start, end, step, err := rangeParams(r)
	if err != nil {
		return answer{}, err
	}
	return h.run(r, func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return h.api.engine.NewRangeQuery(ctx, h.store, opts, r.FormValue("query"), start, end, step)
	})
}

func rangeParams(r *http.Request) (start, end time.Time, step time.Duration, err error) {
	if start, err = parseTime(r.FormValue("start")); err != nil {
		return start, end, step, invalid("start", err)
	}
	if end, err = parseTime(r.FormValue("end")); err != nil {
		return start, end, step, invalid("end", err)
	}
	if end.Before(start) {
		return start, end, step, invalid("end", errors.New("end timestamp must not be before start time"))
	}
	if step, err = parseDuration(r.FormValue("step")); err != nil {
		return start, end, step, invalid("step", err)
	}
	if step <= 0 {
		return start, end, step, invalid("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	}
	if end.Sub(start)/step > maxPoints {
		return start, end, step, badData(errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"))
	}
	return start, end, step, nil
}

// run makes a query and executes it.
func (h *handler) run(r *http.Request, build func(context.Context, promql.QueryOpts) (promql.Query, error)) (answer, error) {
	limit, err := limitParam(r)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel, err := withTimeout(r)
	if err != nil {
		return answer{}, err
	}
	defer cancel()
	opts, err := queryOpts(r)
	if err != nil {
		return answer{}, err
	}
	q, err := build(ctx, opts)
	if err != nil {
		return answer{}, invalid("query", err)
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		q.Close()
		return answer{}, res.Err
	}
	ans := answer{warnings: res.Warnings, query: r.FormValue("query"), done: q.Close}
	if truncate(res, limit) {
		ans.warnings.Add(errTruncated)
	}
	data := queryData{value: res.Value}
	if r.FormValue("stats") != "" {
		data.stats = stats.NewQueryStats(q.Stats())
	}
	ans.data = data
	return ans, nil
}

func withTimeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	text := r.FormValue("timeout")
	if text == "" {
		return r.Context(), func() {}, nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return nil, nil, invalid("timeout", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}

func queryOpts(r *http.Request) (promql.QueryOpts, error) {
	var d time.Duration
	if text := r.FormValue("lookback_delta"); text != "" {
		var err error
		if d, err = parseDuration(text); err != nil {
			return nil, badData(fmt.Errorf("error parsing lookback delta duration: %w", err))
		}
	}
	return promql.NewPrometheusQueryOpts(r.FormValue("stats") == "all", d), nil
}

// truncate cuts a result down to limit series, and says whether it had to.
func truncate(res *promql.Result, limit int) bool {
	if limit <= 0 {
		return false
	}
	switch v := res.Value.(type) {
	case promql.Matrix:
		if len(v) > limit {
			res.Value = v[:limit]
			return true
		}
	case promql.Vector:
		if len(v) > limit {
			res.Value = v[:limit]
			return true
		}
	}
	return false
}
