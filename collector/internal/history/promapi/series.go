package promapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// lookup is what /series, /labels and /label/…/values have in common.
type lookup struct {
	limit int
	span
	sets [][]*labels.Matcher
}

// hint asks the storage for one more than is shown, to know whether there are more.
func (l lookup) hint() int {
	if l.limit > 0 && l.limit < math.MaxInt {
		return l.limit + 1
	}
	return l.limit
}

func lookupParams(r *http.Request) (l lookup, err error) {
	if l.limit, err = limitParam(r); err != nil {
		return l, err
	}
	if l.span, err = spanParams(r); err != nil {
		return l, err
	}
	if l.sets, err = matchParams(r); err != nil {
		return l, badData(err)
	}
	return l, nil
}

func (h *handler) series(r *http.Request) (answer, error) {
	if len(r.Form["match[]"]) == 0 {
		return answer{}, badData(errors.New("no match[] parameter provided"))
	}
	l, err := lookupParams(r)
	if err != nil {
		return answer{}, err
	}
	q, err := h.store.Querier(l.from, l.to)
	if err != nil {
		return answer{}, err
	}
	set := selectAny(r.Context(), q, l)
	found := []labels.Labels{}
	for (l.limit == 0 || len(found) <= l.limit) && set.Next() {
		found = append(found, set.At().Labels())
	}
	if err := errors.Join(set.Err(), r.Context().Err()); err != nil {
		return answer{}, errors.Join(err, q.Close())
	}
	ans := answer{warnings: set.Warnings(), done: func() { h.close(q) }}
	if l.limit > 0 && len(found) > l.limit {
		found = found[:l.limit]
		ans.warnings.Add(errTruncated)
	}
	ans.data = found
	return ans, nil
}

func selectAny(ctx context.Context, q storage.Querier, l lookup) storage.SeriesSet {
	// There is no function series; with this name the storage reads no samples.
	hints := &storage.SelectHints{Start: l.from, End: l.to, Func: "series", Limit: l.hint()}
	if len(l.sets) == 1 {
		return q.Select(ctx, false, hints, l.sets[0]...)
	}
	var sets []storage.SeriesSet
	for _, set := range l.sets {
		sets = append(sets, q.Select(ctx, true, hints, set...))
	}
	return storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
}

func (h *handler) labelNames(r *http.Request) (answer, error) {
	return h.names(r, func(ctx context.Context, q storage.Querier, hints *storage.LabelHints, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, hints, set...)
	})
}

func (h *handler) labelValues(r *http.Request) (answer, error) {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return answer{}, badData(fmt.Errorf("invalid label name: %q", name))
	}
	return h.names(r, func(ctx context.Context, q storage.Querier, hints *storage.LabelHints, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, hints, set...)
	})
}

type namesFunc func(context.Context, storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)

// names collects what get returns for each set of matchers, sorted, each once.
func (h *handler) names(r *http.Request, get namesFunc) (answer, error) {
	l, err := lookupParams(r)
	if err != nil {
		return answer{}, err
	}
	q, err := h.store.Querier(l.from, l.to)
	if err != nil {
		return answer{}, err
	}
	defer h.close(q)
	if len(l.sets) == 0 {
		l.sets = [][]*labels.Matcher{nil}
	}
	found, ans := []string{}, plain(nil)
	for _, set := range l.sets {
		names, warnings, err := get(r.Context(), q, &storage.LabelHints{Limit: l.hint()}, set)
		if err != nil {
			return answer{}, err
		}
		for _, name := range names {
			found = append(found, strings.Clone(name)) // it lies in memory that Close unmaps
		}
		ans.warnings.Merge(warnings)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if l.limit > 0 && len(found) > l.limit {
		found = found[:l.limit]
		ans.warnings.Add(errTruncated)
	}
	ans.data = found
	return ans, nil
}

func (h *handler) close(q storage.Querier) {
	if err := q.Close(); err != nil {
		h.api.logger.Warn("Closing a reader of history failed", "error", err)
	}
}
