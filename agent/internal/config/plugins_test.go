package config

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// counted is a digest that is easy to write.
func counted() (sum [32]byte) {
	for i := range sum {
		sum[i] = byte(i)
	}
	return sum
}

const (
	digest = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	other  = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// An entry is put into the text of a file, which else stays as a person wrote it.
func TestAllowPlugin(t *testing.T) {
	entry := &Plugin{Name: "queue", SHA256: counted()}
	line := "queue: {sha256: " + digest + "}\n"
	for _, tt := range []struct{ name, before, after string }{
		{"no file", "", "plugins:\n  " + line},
		{"only a remark", "# mine\n", "# mine\nplugins:\n  " + line},
		{"no section", "# mine\nrole: server\n", "# mine\nrole: server\nplugins:\n  " + line},
		{"no end of line", "role: server", "role: server\nplugins:\n  " + line},
		{"empty section", "plugins:\nrole: server # big\n", "plugins:\n  " + line + "role: server # big\n"},
		{
			"others", "plugins:\n    # old\n    a: {sha256: " + other + "} # kept\nrole: server\n",
			"plugins:\n    # old\n    " + line + "    a: {sha256: " + other + "} # kept\nrole: server\n",
		},
		{"itself", "plugins:\n   queue: {sha256: " + other + "}\nrole: server\n", "plugins:\n   " + line + "role: server\n"},
		{
			"itself on several lines", "plugins:\n  a: {sha256: " + other + "}\n  queue:\n    sha256: " + other + "\n    secrets:\n    - b\n  z:\n    sha256: " + other + "\n",
			"plugins:\n  a: {sha256: " + other + "}\n  " + line + "  z:\n    sha256: " + other + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AllowPlugin("agent.yaml", []byte(tt.before), entry)
			if err != nil || string(got) != tt.after {
				t.Errorf("got\n%s%v\nnot\n%s", got, err, tt.after)
			}
		})
	}
	for text, want := range map[string]string{
		"plugins: {a: {sha256: " + other + "}}": "agent.yaml:1: write plugins one to a line",
		"plugins: [a]":                          "agent.yaml:1: write plugins one to a line",
		"role: [":                               "agent.yaml:1: ",
		"rule: x":                               "agent.yaml:1: field rule not found",
	} {
		if _, err := AllowPlugin("agent.yaml", []byte(text), entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: no %q in: %v", text, want, err)
		}
	}
}

// However many are allowed, in whatever order and again, the file has each as it was
// allowed last.
func TestAllowPluginsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte("role: server\n")
		want := map[string]Plugin{}
		for range rapid.IntRange(1, 8).Draw(t, "entries") {
			p := Plugin{
				Name:    rapid.SampledFrom([]string{"a", "b", "c", "queue"}).Draw(t, "name"),
				SHA256:  [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest")),
				User:    rapid.SampledFrom([]string{"", "root", "a: b #c"}).Draw(t, "user"),
				Secrets: rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y.z"}}).Draw(t, "secrets"),
				Memory:  rapid.SampledFrom([]int64{0, 64 << 20}).Draw(t, "memory"),
			}
			var err error
			if text, err = AllowPlugin("f", text, &p); err != nil {
				t.Fatal(err)
			}
			want[p.Name] = p
		}
		c, err := Parse("f", text, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		got := map[string]Plugin{}
		for _, p := range c.Plugins {
			p.Line = 0
			got[p.Name] = p
		}
		if fmt.Sprintf("%v", got) != fmt.Sprintf("%v", want) {
			t.Errorf("got %v, not %v, from\n%s", got, want, text)
		}
	})
}

// A plugin that has told nothing may have parameters in the file all the same.
func TestParametersOfAnUntoldPlugin(t *testing.T) {
	text := []byte("checks: {http: {any: thing}}\n")
	c, err := Parse("f", text, &Known{Specs: specs(t), Untold: []string{"http"}})
	if err != nil || len(c.Local) != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
}
