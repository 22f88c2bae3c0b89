package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/wacht-io/wacht/collector/internal/api/fault"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// failure is an error with the answer that it gets.
type failure struct {
	status        int
	field, detail string
}

// Error returns what the client is told.
func (f *failure) Error() string { return f.detail }

func invalid(field, detail string) error {
	return &failure{status: http.StatusBadRequest, field: field, detail: detail}
}

// Status is the HTTP status that an error of a Backend gets, for API and pages alike.
func Status(err error) int {
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, desk.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, desk.ErrWrongState):
		return http.StatusConflict
	case errors.Is(err, desk.ErrInvalid):
		return http.StatusUnprocessableEntity
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// refuse answers with what went wrong. What belongs to somebody else is as little
// there as what does not exist.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if f, ok := errors.AsType[*failure](err); ok {
		fault.WriteField(w, f.status, f.field, f.detail)
		return
	}
	switch status := Status(err); status {
	case http.StatusNotFound:
		fault.Write(w, status, "there is nothing by that name that you may see: list what there is with GET /api/v1/incidents or /api/v1/hosts")
	case http.StatusConflict, http.StatusUnprocessableEntity:
		fault.Write(w, status, err.Error())
	case http.StatusServiceUnavailable:
		fault.Write(w, status, "the collector did not get round to it: try again")
	default:
		a.logger.Error("A request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		fault.Write(w, status, "the collector failed: its log says why")
	}
}
