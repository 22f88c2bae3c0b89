package main

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// summaryOf writes a property set with what settle looks for, and noise around it.
func summaryOf(noise string, made time.Time, code string) []byte {
	le := binary.LittleEndian
	values := le.AppendUint32(nil, typeTime)
	values = le.AppendUint64(values, fileTime(made))
	values = le.AppendUint32(values, typeTime)
	values = le.AppendUint64(values, fileTime(made))
	values = le.AppendUint32(values, typeString)
	values = le.AppendUint32(values, uint32(len(code)+1))
	values = append(values, code+"\x00"...)
	const table = 8 + 3*8
	section := le.AppendUint32(nil, uint32(table+len(values)))
	section = le.AppendUint32(section, 3)
	for i, id := range []uint32{created, saved, packageCode} {
		section = le.AppendUint32(section, id)
		section = le.AppendUint32(section, uint32(table+12*i))
	}
	header := append(make([]byte, 28), formatID...)
	header = le.AppendUint32(header, 48)
	return append(append([]byte(noise), header...), append(section, values...)...)
}

const anyCode = "{5C3B666B-9B62-4417-855A-6167CEAC863D}"

func TestSettle(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	one := summaryOf("the tables", time.Unix(1, 0), anyCode)
	two := summaryOf("the tables", time.Unix(2, 0), strings.Replace(anyCode, "5C", "6D", 1))
	other := summaryOf("other tables", time.Unix(1, 0), anyCode)
	for _, data := range [][]byte{one, two, other} {
		if err := settle(data, at); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(anyCode)) {
			t.Error("the package code is still there")
		}
	}
	if !bytes.Equal(one, two) {
		t.Errorf("one content gives two files:\n%q\n%q", one, two)
	}
	if code := one[len(one)-39:]; bytes.Equal(code, other[len(other)-39:]) {
		t.Errorf("two contents have the package code %s", code)
	}
	if !bytes.Contains(one, binary.LittleEndian.AppendUint64(nil, 133444736000000000)) { // 2023-11-14T22:13:20Z
		t.Errorf("the time is not in it: %q", one)
	}
}

// What is no installer is refused, and never a reason to break.
func FuzzSettle(f *testing.F) {
	whole := summaryOf("", time.Unix(1, 0), anyCode)
	f.Add([]byte{})
	f.Add(whole)
	f.Add(whole[:60])
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add(summaryOf("", time.Unix(1, 0), strings.Repeat("0", 38)))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		if err := settle(data, time.Unix(5, 0)); err == nil && bytes.Count(data, []byte(formatID)) != 1 {
			t.Errorf("%q was taken for an installer", before)
		}
	})
}
