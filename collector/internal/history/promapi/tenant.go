package promapi

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Within returns a view of a store that holds one customer's series alone. The
// customer is added below the query engine, to every selection that reaches the
// storage: no expression, function or parameter of a query can go round it, and one
// that asks for another customer finds nothing.
func Within(store storage.Queryable, customer string) storage.Queryable {
	return &tenant{store: store, only: labels.MustNewMatcher(labels.MatchEqual, "customer", customer)}
}

type tenant struct {
	store storage.Queryable
	only  *labels.Matcher
}

// Querier implements storage.Queryable.
func (t *tenant) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := t.store.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &tenantQuerier{querier: q, only: t.only}, nil
}

// tenantQuerier names its querier rather than embedding it, so that a method that
// Prometheus adds to the interface does not compile here until it is kept within the
// customer too.
type tenantQuerier struct {
	querier storage.Querier
	only    *labels.Matcher
}

func (q *tenantQuerier) within(matchers []*labels.Matcher) []*labels.Matcher {
	return append(slices.Clip(matchers), q.only)
}

// Select implements storage.Querier.
func (q *tenantQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return q.querier.Select(ctx, sorted, hints, q.within(matchers)...)
}

// LabelValues implements storage.LabelQuerier.
func (q *tenantQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.querier.LabelValues(ctx, name, hints, q.within(matchers)...)
}

// LabelNames implements storage.LabelQuerier.
func (q *tenantQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.querier.LabelNames(ctx, hints, q.within(matchers)...)
}

// Close implements storage.LabelQuerier.
func (q *tenantQuerier) Close() error { return q.querier.Close() }
