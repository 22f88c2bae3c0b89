package drives_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/wacht-io/wacht/checks/smart/drives"
)

func TestParseRequest(t *testing.T) {
	for line, want := range map[string]drives.Request{
		"list":                 {},
		"0123456789abcdef 0":   {Generation: "0123456789abcdef"},
		"0123456789abcdef 511": {Generation: "0123456789abcdef", Index: 511},
	} {
		if got, err := drives.ParseRequest(line); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{
		"", "LIST", "list ", " list", "list\r", "list /dev/sda", "/dev/sda", "0", "0123456789abcdef", "0123456789abcdef ",
		"0123456789abcdef /dev/sda", "0123456789abcdef ../../etc/shadow", "0123456789abcdef -1", "0123456789abcdef +1",
		"0123456789abcdef 01", "0123456789abcdef 512", "0123456789abcdef 65536", "0123456789abcdef 0x1", "0123456789abcdef 1 ",
		"0123456789abcdef  1", "0123456789ABCDEF 1", "0123456789abcde 1", "0123456789abcdef0 1", "0123456789abcdef 1\x00",
		"0123456789abcdef ١",
	} {
		if got, err := drives.ParseRequest(line); err == nil {
			t.Errorf("%q is taken for %+v", line, got)
		}
	}
}

// What is accepted is a list's generation and a small number, written in one way.
func FuzzParseRequest(f *testing.F) {
	for _, line := range []string{"list", "0123456789abcdef 0", "0123456789abcdef 511", "0123456789abcdef 512", "0123456789abcdef /dev/sda", "ffffffffffffffff -1", ""} {
		f.Add(line)
	}
	form := regexp.MustCompile(`^([0-9a-f]{16} (0|[1-9][0-9]{0,2})|list)$`)
	f.Fuzz(func(t *testing.T, line string) {
		request, err := drives.ParseRequest(line)
		if err != nil {
			return
		}
		if !form.MatchString(line) || request.String() != line || request.Index < 0 || request.Index >= drives.MaxDrives || len(line) >= drives.MaxRequest {
			t.Errorf("%q is taken for %+v", line, request)
		}
	})
}

func TestReplyErr(t *testing.T) {
	for _, err := range []error{drives.ErrChanged, drives.ErrNoSmartctl} {
		if r := drives.Failure(err); !errors.Is(r.Err(), err) {
			t.Errorf("%+v is the error %v, want %v", r, r.Err(), err)
		}
	}
	if r := drives.Failure(errors.New("it burns")); r.Code != drives.CodeFailed || r.Err().Error() != "it burns" {
		t.Errorf("%+v is the error %v", r, r.Err())
	}
	if err := (&drives.Reply{}).Err(); err != nil {
		t.Errorf("an empty reply is the error %v", err)
	}
}
