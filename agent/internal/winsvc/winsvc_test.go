package winsvc

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Identifiers that Windows itself shows (sc showsid).
func TestSID(t *testing.T) {
	for name, want := range map[string]string{
		"TrustedInstaller": "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
		"trustedinstaller": "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
		"MSSQLSERVER":      "S-1-5-80-3880718306-3832830129-1677859214-2598158968-1052248003",
	} {
		if got := SID(name); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
	}
}

// Nobody but SYSTEM, administrators and the service is let in, and nothing is inherited.
func TestFoldersAreClosed(t *testing.T) {
	for name, list := range map[string]string{"configuration": readable(), "state": writable()} {
		body, ok := strings.CutPrefix(list, "D:PAI(")
		if !ok {
			t.Fatalf("%s: %s is not protected", name, list)
		}
		for entry := range strings.SplitSeq(strings.TrimSuffix(body, ")"), ")(") {
			fields := strings.Split(entry, ";")
			if len(fields) != 6 || fields[0] != "A" || fields[1] != "OICI" {
				t.Fatalf("%s: %q is no entry", name, entry)
			}
			switch who := fields[5]; {
			case who == "SY" || who == "BA":
			case who == SID(Name) && fields[2] == map[string]string{"configuration": mayRead, "state": mayModify}[name]:
			default:
				t.Errorf("%s: %q lets others in", name, entry)
			}
		}
	}
}

// written is a log of events in memory.
type written []string

func (w *written) add(kind string, id uint32, text string) error {
	*w = append(*w, fmt.Sprintf("%s %d %s", kind, id, text))
	return nil
}

func (w *written) Info(id uint32, text string) error    { return w.add("info", id, text) }
func (w *written) Warning(id uint32, text string) error { return w.add("warning", id, text) }
func (w *written) Error(id uint32, text string) error   { return w.add("error", id, text) }

func TestEvents(t *testing.T) {
	for want, write := range map[string]func(*slog.Logger){
		"info 1 started": func(l *slog.Logger) { l.Info("started") },
		"warning 2 no connection\r\nerror=\"it is gone\" attempts=2": func(l *slog.Logger) {
			l.Warn("no connection", "error", errors.New("it is gone"), "attempts", 2)
		},
		"error 3 lost\r\nhost=h1 run.check=disk": func(l *slog.Logger) {
			l.With("host", "h1").WithGroup("run").Error("lost", "check", "disk")
		},
		"info 1 a zero is left out": func(l *slog.Logger) { l.Info("a zero\x00 is left out") },
		"info 1 long\r\ntext=" + strings.Repeat("é", (maxEventBytes-11)/2) + "…": func(l *slog.Logger) {
			l.Info("long", "text", strings.Repeat("é", maxEventBytes))
		},
	} {
		var log written
		write(slog.New(NewHandler(&log)))
		if len(log) != 1 || log[0] != want {
			t.Errorf("%q was written, not %q", log, want)
		}
	}
}
