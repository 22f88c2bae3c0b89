package service

import (
	"context"
	"fmt"
	"time"
)

// exited is CLD_EXITED of <signal.h>: the process ended by itself.
const exited = 1

// end is how a service's main process ended, in systemd's properties.
type end struct {
	conditionsMet bool
	conditionsAt  uint64 // microseconds of the Unix epoch, 0 for never
	result        string
	code, status  int32
	started, over uint64 // microseconds of the Unix epoch, 0 for never
}

// inquest finds out why a unit does not run, and whether it still should.
func (s *session) inquest(ctx context.Context, u unit, k kind, out *service) error {
	var e end
	var err error
	get := func(iface, name string, to any) {
		if err == nil {
			err = s.property(ctx, u.Path, iface, name, to)
		}
	}
	get(unitIface, "ConditionResult", &e.conditionsMet)
	get(unitIface, "ConditionTimestamp", &e.conditionsAt)
	get(serviceIface, "Result", &e.result)
	get(serviceIface, "ExecMainCode", &e.code)
	get(serviceIface, "ExecMainStatus", &e.status)
	get(serviceIface, "ExecMainStartTimestamp", &e.started)
	get(serviceIface, "ExecMainExitTimestamp", &e.over)
	if err != nil {
		return err
	}
	out.expected, out.why = e.verdict(k, out.failed)
	return nil
}

// verdict says whether a unit that does not run should, and what is to be said.
func (e end) verdict(k kind, failed bool) (expected bool, why string) {
	ran := time.Duration(e.over-e.started) * time.Microsecond
	switch {
	case failed:
		return true, fmt.Sprintf("%s, its main process ended with status %d", e.result, e.status)
	case e.conditionsAt > 0 && !e.conditionsMet:
		return false, "its conditions are not met on this machine"
	case e.over == 0:
		return !k.oneshot, "it has not been started"
	case e.result != "success" || e.code != exited || e.status != 0:
		return true, fmt.Sprintf("it was ended (%s, status %d)", e.result, e.status)
	case k.oneshot, !k.daemon && !k.always && e.over > e.started && ran < briefly:
		return false, "it has done its work"
	}
	return true, "it was stopped"
}
