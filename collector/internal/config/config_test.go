package config

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	c, err := Parse([]byte("data_dir: /srv/wacht\nhistory: {retention: 90d}\nsilence:\n  server: 10m\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/srv/wacht" || c.History.Retention.D() != 90*24*time.Hour || c.Silence.Server.D() != 10*time.Minute {
		t.Fatalf("read %+v", c)
	}
	if c.Web != DefaultWeb || c.Agents != DefaultAgents || c.Silence.Announced.D() != 30*time.Minute {
		t.Fatalf("what the file does not say is not the default: %+v", c)
	}
	if c, err := Parse(nil); err != nil || c.DataDir != DefaultDir {
		t.Fatalf("an empty file gives %+v, %v", c, err)
	}
}

func TestParseTellsAllThatIsWrong(t *testing.T) {
	_, err := Parse([]byte(`data_dir: data
webb: nowhere
web: here
silence: {server: -5m}
history:
  retention: soon
public_url: wacht
notify:
  - name: desk
    type: pigeon
`))
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{
		"line 2: field webb not found", `line 3: web: "here" is not an address`, "line 4: silence.server: must be above zero",
		"soon", "line 7: public_url", "pigeon",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from: %v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("notify: [{name: a, type: webhook, url: https://desk.example.net/}]"))
	f.Add([]byte("web: :1\nagents: [\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = Parse(data) })
}
