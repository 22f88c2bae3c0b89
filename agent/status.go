package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"time"
)

// Status is what a running agent tells of itself. Times that are unknown are left out.
type Status struct {
	Version        string       `json:"version"`
	Host           string       `json:"host"`
	Customer       string       `json:"customer,omitempty"`
	Site           string       `json:"site,omitempty"`
	Collector      string       `json:"collector"`
	Connected      bool         `json:"connected"`
	Since          time.Time    `json:"since,omitzero"`
	LastAck        time.Time    `json:"last_ack,omitzero"`
	Error          string       `json:"error,omitempty"`
	SkewSeconds    *float64     `json:"clock_skew_seconds,omitempty"`
	Certificate    time.Time    `json:"certificate_until"`
	PolicyRevision uint64       `json:"policy_revision"`
	Spool          SpoolStatus  `json:"spool"`
	Tasks          []TaskStatus `json:"tasks"`
}

// SpoolStatus is how much waits for the collector, and what is gone since the start.
type SpoolStatus struct {
	Runs        int64  `json:"runs"`
	Bytes       int64  `json:"bytes"`
	OnDisk      int64  `json:"runs_on_disk"`
	FileBytes   int64  `json:"file_bytes"`
	Dropped     uint64 `json:"dropped"`
	Lost        uint64 `json:"lost"`
	Damaged     uint64 `json:"damaged"`
	Refused     uint64 `json:"refused"`
	DiskFailing bool   `json:"disk_failing,omitempty"`
}

// TaskStatus is how one task fares.
type TaskStatus struct {
	Name            string    `json:"name"`
	IntervalSeconds float64   `json:"interval_seconds"`
	LastRun         time.Time `json:"last_run,omitzero"`
	TookSeconds     float64   `json:"took_seconds"`
	Results         int       `json:"results"`
	Status          string    `json:"status,omitempty"`
	Summary         string    `json:"summary,omitempty"`
	NextRun         time.Time `json:"next_run,omitzero"`
	HungSince       time.Time `json:"hung_since,omitzero"`
}

// Status tells how the agent fares.
func (a *Agent) Status() Status {
	up, sp := a.uplink.Status(), a.spool.Stats()
	st := Status{
		Version: a.opts.Version, Host: up.HostID, Customer: up.Customer, Site: up.Site, Collector: a.address,
		Connected: up.Connected, Since: up.Since, LastAck: up.LastAck, Error: up.Error, Certificate: up.Certificate,
		PolicyRevision: a.revision(), Tasks: []TaskStatus{},
		Spool: SpoolStatus{sp.Runs, sp.Bytes, sp.OnDisk, sp.FileBytes, sp.Dropped, sp.Lost, sp.Damaged, sp.Refused, sp.DiskFailing},
	}
	if up.SkewKnown {
		st.SkewSeconds = new(up.Skew.Seconds())
	}
	for _, t := range a.schedule.Status() {
		task := TaskStatus{
			Name: t.Name, IntervalSeconds: t.Interval.Seconds(), LastRun: t.Last.Planned, TookSeconds: t.Last.Duration.Seconds(),
			Results: t.Last.Results, NextRun: t.Next, HungSince: t.HungSince,
		}
		if t.Last.Results > 0 {
			task.Status, task.Summary = t.Last.Status.String(), t.Last.Summary
		}
		st.Tasks = append(st.Tasks, task)
	}
	return st
}

// socketName is the local socket in the state folder; on Windows it names a pipe.
// Whoever connects gets the status as JSON.
const socketName = "agent.sock"

// serveStatus offers the status on the local socket. An agent without it goes on.
func (a *Agent) serveStatus() {
	path := filepath.Join(a.conf.StateDir, socketName)
	listener, err := listenLocal(path)
	if err != nil {
		a.opts.Logger.Warn("wacht-agent status will not work", "error", err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(time.Second) // out of descriptors: others need the processor
				continue
			}
			a.tell(conn)
		}
	}()
	a.undo = append(a.undo, func() error {
		err := listener.Close()
		<-done
		return err
	})
}

func (a *Agent) tell(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_ = json.NewEncoder(conn).Encode(a.Status()) // who asked has gone
}

// ErrNotRunning means that no agent answers at the state folder's socket.
var ErrNotRunning = errors.New("no agent is running here")

// AskStatus asks the agent that runs with the state folder in opts.
func AskStatus(ctx context.Context, opts Options) (*Status, error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(conf.StateDir, socketName)
	conn, err := dialLocal(ctx, path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("asking the agent at %s: you may not: run this as the agent's user or as root", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%s): start it with wacht-agent run", ErrNotRunning, path)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	var st Status
	if err := json.NewDecoder(conn).Decode(&st); err != nil {
		return nil, fmt.Errorf("reading the agent's answer: %w", err)
	}
	return &st, nil
}
