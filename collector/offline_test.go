package collector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/admin"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/notify"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// offlineFolder is a data folder with one notice that waits, and a configuration with
// its channel.
func offlineFolder(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "collector.yaml")
	text := "data_dir: data\nnotify: [{name: ops, type: smtp, host: mail.example.net, from: wacht@example.net, to: [desk@example.net]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := dataFolder(data); err != nil {
		t.Fatal(err)
	}
	w, err := notice.New(time.Now(), notify.Notice{Incident: incident.Incident{Number: "INC-00000001", Customer: "acme"}}, "ops").Write()
	if err != nil {
		t.Fatal(err)
	}
	inStore(t, data, func(s store.Store) {
		if err := s.Commit(t.Context(), nil, []store.Write{w}); err != nil {
			t.Fatal(err)
		}
	})
	return Options{ConfigFile: file}
}

func inStore(t *testing.T, data string, do func(store.Store)) {
	t.Helper()
	s, _, err := boltstore.Open(dbFile(data), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	do(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s store.Store, table *store.Table) (n int) {
	t.Helper()
	for _, err := range s.Scan(t.Context(), table, "acme", store.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// What waits to be told waits for the collector; a command neither sends nor buries it.
func TestCommandLeavesNoticesToTheCollector(t *testing.T) {
	opt := offlineFolder(t)
	err := Admin(t.Context(), opt, func(a *admin.Client) error {
		_, err := a.CreateToken(t.Context(), admin.TokenOrder{Customer: "acme", Site: "utrecht"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	inStore(t, filepath.Join(filepath.Dir(opt.ConfigFile), "data"), func(s store.Store) {
		if waiting, dead := count(t, s, &notice.Outbox), count(t, s, &notice.DeadLetters); waiting != 1 || dead != 0 {
			t.Errorf("after a command %d notices wait and %d are dead letters", waiting, dead)
		}
		for row, err := range s.Scan(t.Context(), &notice.Outbox, "acme", store.Range{}) {
			if err != nil || strings.Contains(string(row.Value), "last_error") {
				t.Errorf("the command tried to send it: %s, %v", row.Value, err)
			}
		}
	})
}

func TestCommandOnNothingMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	err := Admin(t.Context(), Options{DataDir: dir, MustExist: true}, func(*admin.Client) error {
		t.Error("it was done")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "holds no collector's data") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
}
