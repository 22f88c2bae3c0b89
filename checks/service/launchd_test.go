package service

import (
	"os"
	"testing"
)

func TestParseLaunchctl(t *testing.T) {
	output, err := os.ReadFile("testdata/launchctl-list.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseLaunchctl(output, []string{"com.example.idle", "com.example.killed", "com.example.none", "com.example.proxy", "com.example.wrong"})
	if err != nil {
		t.Fatal(err)
	}
	want := []service{
		{name: "com.example.idle", state: "not running", expected: true},
		{name: "com.example.killed", state: "not running", expected: true, failed: true, why: "ended by signal 9"},
		{name: "com.example.none", state: "not loaded", expected: true, why: "launchd has no such job"},
		{name: "com.example.proxy", state: "running", active: true, expected: true},
		{name: "com.example.wrong", state: "not running", expected: true, failed: true, why: "ended with status 78"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

func FuzzParseLaunchctl(f *testing.F) {
	f.Add([]byte("PID\tStatus\tLabel\n-\t0\tcom.example.idle\n412\t0\tcom.example.proxy\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		got, err := parseLaunchctl(output, []string{"com.example.idle"})
		if err == nil && len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}
