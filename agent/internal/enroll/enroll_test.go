package enroll_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/uplink"
	"github.com/wacht-io/wacht/agent/internal/uplinktest"
)

func connect(t *testing.T, c *uplinktest.Collector, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := uplink.Dial("collector", creds, c.Dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func join(t *testing.T, c *uplinktest.Collector, text string, now time.Time) (*enroll.Identity, error) {
	t.Helper()
	token, err := agentpb.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, c, credentials.NewTLS(enroll.JoinTLS(token, now)))
	return enroll.Join(t.Context(), conn, text, &agentpb.Machine{})
}

func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		token := c.Token()
		id, err := join(t, c, token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := enroll.Load(dir); !errors.Is(err, enroll.ErrNotEnrolled) {
			t.Errorf("an empty folder: %v", err)
		}
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
		again, err := enroll.Load(dir)
		if err != nil || again.HostID != id.HostID || !again.Key.Equal(id.Key) || len(again.Chain) != 2 {
			t.Errorf("loaded %+v, %v", again, err)
		}
		if info, _ := os.Stat(filepath.Join(dir, "identity.pem")); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the identity's mode is %v", info.Mode())
		}
		if _, err := join(t, c, token, time.Now()); err == nil || !strings.Contains(err.Error(), "make a new one") {
			t.Errorf("a token that was used: %v", err)
		}
	})
}

func TestJoinTrustsThePinAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := uplinktest.New(t), uplinktest.New(t)
		if _, err := join(t, c, other.Token(), time.Now()); err == nil || !strings.Contains(err.Error(), "not the collector that made the token") {
			t.Errorf("another collector's token: %v", err)
		}
		if _, err := join(t, c, c.Token(), time.Now().AddDate(-40, 0, 0)); err != nil {
			t.Errorf("with a clock far behind: %v", err)
		}
		if _, err := join(t, c, c.Token(), time.Now().AddDate(10, 0, 0)); err == nil || !strings.Contains(err.Error(), "check both clocks") {
			t.Errorf("with a clock far ahead: %v", err)
		}
	})
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		id, err := join(t, c, c.Token(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, anonymous := range []bool{false, true} {
			time.Sleep(time.Hour)
			conn := connect(t, c, credentials.NewTLS(id.TLS(anonymous, time.Now)))
			fresh, err := enroll.Renew(t.Context(), conn, id)
			if err != nil || !fresh.Key.Equal(id.Key) || !fresh.Expires().After(id.Expires()) {
				t.Errorf("anonymous %v: %v", anonymous, err)
			}
		}
		stranger, err := join(t, c, c.Token(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		stranger.HostID = id.HostID
		conn := connect(t, c, credentials.NewTLS(id.TLS(true, time.Now)))
		if _, err := enroll.Renew(t.Context(), conn, stranger); err == nil {
			t.Error("another key renewed a host's certificate")
		}
	})
}

func TestRenewAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		for range 20 {
			id, err := join(t, c, c.Token(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if left := id.Expires().Sub(id.RenewAt()); left < c.Lifetime/3 || left > c.Lifetime*9/20 {
				t.Errorf("renewed with %v left of %v", left, c.Lifetime)
			}
		}
	})
}

// The collector's certificate is held to the last known time, not to the clock.
func TestExpiredCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		id, err := join(t, c, c.Token(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		later := func() time.Time { return time.Now().AddDate(0, 0, 3) }
		conn := connect(t, c, credentials.NewTLS(id.TLS(true, later)))
		if _, err := enroll.Renew(t.Context(), conn, id); err == nil || !strings.Contains(err.Error(), "ended on") {
			t.Errorf("a collector with a certificate that has ended: %v", err)
		}
		other := connect(t, uplinktest.New(t), credentials.NewTLS(id.TLS(true, time.Now)))
		if _, err := enroll.Renew(t.Context(), other, id); err == nil || !strings.Contains(err.Error(), "not the collector that this machine joined") {
			t.Errorf("another collector: %v", err)
		}
		earlier := func() time.Time { return time.Now().AddDate(-5, 0, 0) }
		conn = connect(t, c, credentials.NewTLS(id.TLS(true, earlier)))
		if _, err := enroll.Renew(t.Context(), conn, id); err != nil {
			t.Errorf("with a known time long ago: %v", err)
		}
	})
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(filepath.Join(dir, "identity.pem"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := enroll.Load(dir); err == nil || !strings.Contains(err.Error(), "identity.pem") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	a := enroll.Fingerprint([]string{"mac=1", "machine-id=2", "dmi=", "mac=1"})
	b := enroll.Fingerprint([]string{"machine-id=2", "mac=1"})
	if len(a) != 2 || !slices.EqualFunc(a, b, slices.Equal[[]byte]) {
		t.Errorf("%x, %x", a, b)
	}
}

func TestMachine(t *testing.T) {
	m := enroll.Machine(t.Context(), agentpb.Role_WORKSTATION, "1.2.3")
	if m.GetHostname() == "" || m.GetOs() != runtime.GOOS || m.GetAgentVersion() != "1.2.3" || m.GetBootTimeMs() == 0 || len(m.GetFingerprint()) == 0 {
		t.Errorf("%v", m)
	}
	if runtime.GOOS == "linux" && enroll.BootID(t.Context()) == "" {
		t.Error("no boot id")
	}
}
