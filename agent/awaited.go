package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/statefile"
)

// answersName is the file in the state folder in which an installer leaves the
// collector and the token for the agent's first start. It is deleted once they have
// been used.
const answersName = "join.json"

type answers struct {
	Collector string `json:"collector"`
	Token     string `json:"token"`
}

// LeaveAnswers verifies opts.Collector and token, and keeps them in the state folder
// for Awaited to join with.
func LeaveAnswers(opts Options, token string) error {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return err
	}
	if conf.Collector == "" {
		return ErrNoCollector
	}
	if _, err := agentpb.ParseToken(token); err != nil {
		return err
	}
	data, err := json.Marshal(answers{conf.Collector, token})
	if err != nil {
		return fmt.Errorf("encoding the answers: %w", err)
	}
	return statefile.Write(filepath.Join(conf.StateDir, answersName), data)
}

// StateDir is the state folder that opts lead to.
func StateDir(opts Options) (string, error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return "", err
	}
	return conf.StateDir, nil
}

// lookAgain is how often a machine that has not joined looks whether it has by now.
const lookAgain = 2 * time.Second

// Awaited is Run for a machine that may not have joined yet: it joins with the
// answers that an installer left, however long the collector is out of reach, or
// waits until a person has run wacht-agent enroll. Where ctx ends before, it ends
// without an error.
func Awaited(ctx context.Context, opts Options) error {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return err
	}
	w := waiting{opts: opts, conf: conf, wait: backoff.NewExponentialBackOff()}
	w.wait.InitialInterval, w.wait.MaxInterval = lookAgain, 2*time.Minute
	for !w.joined(ctx) {
		timer := time.NewTimer(w.pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
	w.forget()
	return Run(ctx, opts)
}

// waiting is a machine that waits for its identity.
type waiting struct {
	opts  Options
	conf  *config.Config
	wait  *backoff.ExponentialBackOff
	pause time.Duration // before it looks again
	told  string        // what was logged, which is not repeated
}

// joined says whether the machine has an identity, and tries to get one. What is
// wrong with one that is there, Run tells.
func (w *waiting) joined(ctx context.Context) bool {
	if _, err := enroll.Load(w.conf.StateDir); !errors.Is(err, enroll.ErrNotEnrolled) {
		return true
	}
	w.pause = lookAgain
	given, err := w.answers()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.tell("this machine has not joined a collector: run wacht-agent enroll")
		return false
	case err != nil:
		w.tell("the answers of the installer can't be read: run wacht-agent enroll", "error", err)
		return false
	}
	opts := w.opts
	opts.Collector = given.Collector
	id, err := Enroll(ctx, opts, given.Token, false)
	switch {
	case err == nil:
		w.opts.Logger.Info("joined", "host", id.HostID, "collector", given.Collector)
		return true
	case errors.Is(err, ErrRefused):
		w.tell("joining failed: run wacht-agent enroll with a new token", "error", err)
		w.forget()
	default:
		w.tell("joining is tried again until it works", "error", err)
		w.pause = w.wait.NextBackOff()
	}
	return false
}

func (w *waiting) answers() (given answers, err error) {
	data, err := os.ReadFile(filepath.Join(w.conf.StateDir, answersName))
	if err != nil {
		return given, fmt.Errorf("reading the answers: %w", err)
	}
	if err := json.Unmarshal(data, &given); err != nil {
		return given, fmt.Errorf("reading the answers: %w", err)
	}
	return given, nil
}

// forget removes the answers: the token has been used, or is of no use.
func (w *waiting) forget() {
	err := os.Remove(filepath.Join(w.conf.StateDir, answersName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.opts.Logger.Warn("the answers of the installer, with the token, are still there", "error", err)
	}
}

func (w *waiting) tell(text string, args ...any) {
	if line := text + fmt.Sprint(args...); line != w.told {
		w.told = line
		w.opts.Logger.Warn(text, args...) //nolint:sloglint // one of three texts above
	}
}
