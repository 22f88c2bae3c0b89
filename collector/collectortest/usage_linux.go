package collectortest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process used of the machine.
type Usage struct {
	// Resident is its memory in bytes after a garbage collection, Peak the most there was.
	Resident, Peak int64
	// CPU is its processor time since it started.
	CPU time.Duration
	// Written is what it wrote to disk, in bytes.
	Written int64
}

// Usage collects the process's garbage and asks the system (proc(5)).
func (p *Process) Usage() Usage {
	p.t.Helper()
	p.order("gc")
	return p.UsageNow()
}

// UsageNow is Usage without collecting garbage before.
func (p *Process) UsageNow() Usage {
	p.t.Helper()
	status := p.proc("status")
	stat := p.proc("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const hertz = 100 // USER_HZ, on every architecture that Go runs on
	ticks := number(fields[11]) + number(fields[12])
	return Usage{
		Resident: field(status, "VmRSS:") << 10, Peak: field(status, "VmHWM:") << 10,
		CPU: time.Duration(ticks) * time.Second / hertz, Written: field(p.proc("io"), "write_bytes:"),
	}
}

func (p *Process) proc(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func field(text, name string) int64 {
	_, after, _ := strings.Cut(text, name)
	if f := strings.Fields(after); len(f) > 0 {
		return number(f[0])
	}
	return 0
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // the kernel's own figures
	return n
}
