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

func TestParseTellsWhatCanNotBe(t *testing.T) {
	for _, c := range []struct{ file, says string }{
		{"web: :1\n---\nagents: :2\n", "line 2: a second document"},
		{"web: :1\n---\nagents: [\n", "a second document"},
		{"history:\n  retention: 10d\n  out_of_order: 11d\n", "line 3: history.out_of_order (11d) may not be longer than history.retention (10d)"},
		{"history:\n  retention: 2d\n", "line 2: history.out_of_order (4d) may not be longer than history.retention (2d)"},
		{"silence:\n  announced: 4m\n", "line 2: silence.server (5m0s) may not be longer than silence.announced (4m0s)"},
	} {
		if _, err := Parse([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q gives %v, and not %q", c.file, err, c.says)
		}
	}
	for _, file := range []string{"---\nweb: :1\n", "web: :1\n...\n", "# nothing\n", "silence: {server: 1h, announced: 1h}\n"} {
		if _, err := Parse([]byte(file)); err != nil {
			t.Errorf("%q gives %v", file, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("notify: [{name: a, type: webhook, url: https://desk.example.net/}]"))
	f.Add([]byte("web: :1\nagents: [\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = Parse(data) })
}
