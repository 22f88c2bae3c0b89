// Command hostile is a plugin that does what a plugin must not.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/plugins"
)

//go:embed check.yaml
var declaration []byte

type hostile struct {
	spec  *checks.Spec
	began time.Time
}

func (h hostile) Spec() *checks.Spec { return h.spec }

func (hostile) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	return []checks.Instance{{}}, nil
}

func (h hostile) Run(_ context.Context, env *checks.Env) (checks.Run, error) {
	mode := env.Params.String("mode")
	switch mode {
	case "fork":
		_ = exec.Command("/bin/sh", "-c", "b() { b | b & }; b; while :; do b; done").Run()
		for {
			_ = exec.Command("/bin/sleep", "1000").Start()
		}
	case "allocate":
		allocate(10 << 30)
	case "print":
		for {
			fmt.Println(strings.Repeat("x", 1000))
		}
	case "shout":
		for {
			_, _ = syscall.Write(2, []byte(strings.Repeat("x", 1000)))
		}
	case "flood":
		return results(200_000), nil
	case "many":
		return results(checks.MaxResults + 1), nil
	case "read":
		data, err := os.ReadFile(env.Params.String("path"))
		return checks.Run{Results: []checks.Result{{Summary: "it reads " + string(data)}}}, err
	case "late":
		time.Sleep(time.Minute)
	case "crash":
		_, _ = os.NewFile(2, "stderr").WriteString("no luck today\n")
		os.Exit(3)
	}
	return checks.Run{Complete: true, Results: []checks.Result{{
		Summary: mode, Metrics: []checks.Metric{{Name: "pid_seconds", Value: float64(h.began.UnixNano()) / 1e9}},
	}}}, nil
}

func allocate(bytes int) {
	const block = 64 << 20
	var all [][]byte
	for range bytes / block {
		b := make([]byte, block)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Println(len(all))
}

func results(n int) checks.Run {
	run := checks.Run{Results: make([]checks.Result, n)}
	for i := range run.Results {
		run.Results[i] = checks.Result{Item: fmt.Sprint(i), Summary: "one of many results"}
	}
	return run
}

func main() { plugins.Serve(hostile{plugins.MustSpec(declaration), time.Now()}) }
