package service

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// parseLaunchctl reads what "launchctl list" prints: a line for each job with its
// process number or "-", its last exit status (minus a signal's number), and its
// label. Only the chosen jobs are returned: the list does not tell which ones start
// by themselves.
func parseLaunchctl(output []byte, labels []string) ([]service, error) {
	jobs := make(map[string]service)
	scan := bufio.NewScanner(bytes.NewReader(output))
	for scan.Scan() {
		f := strings.Fields(scan.Text())
		if len(f) != 3 || f[0] == "PID" {
			continue
		}
		status, err := strconv.Atoi(f[1])
		if err != nil {
			continue
		}
		jobs[f[2]] = job(f[2], f[0], status)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("reading the list of launchd's jobs: %w", err)
	}
	var out []service
	for _, label := range labels {
		s, ok := jobs[label]
		if !ok {
			s = service{name: label, state: "not loaded", expected: true, why: "launchd has no such job"}
		}
		out = append(out, s)
	}
	return out, nil
}

func job(label, pid string, status int) service {
	s := service{name: label, state: "not running", expected: true}
	if _, err := strconv.ParseUint(pid, 10, 32); err == nil {
		s.state, s.active = "running", true
		return s
	}
	switch {
	case status < 0:
		s.failed, s.why = true, fmt.Sprintf("ended by signal %d", -status)
	case status > 0:
		s.failed, s.why = true, fmt.Sprintf("ended with status %d", status)
	}
	return s
}
