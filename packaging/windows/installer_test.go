package windows

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// table reads a table of an installer: its rows, by the first column, each by column.
func table(t *testing.T, r release, name string) map[string]map[string]string {
	t.Helper()
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(output(t, "msiinfo", "export", r.installer, name), "\r", ""), "\n"), "\n")
	columns := strings.Split(lines[0], "\t")
	rows := map[string]map[string]string{}
	for _, line := range lines[3:] { // types, and the table's name and keys, come between
		row := map[string]string{}
		for i, value := range strings.Split(line, "\t") {
			row[columns[i]] = value
		}
		rows[row[columns[0]]] = row
	}
	return rows
}

func summaryOf(t *testing.T, r release) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(output(t, "msiinfo", "suminfo", r.installer)) {
		if name, value, ok := strings.Cut(line, ": "); ok {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

const upgradeCode = "{8E6F54B9-5F0C-4B7C-9D3B-2C1D9A0F7E61}" // for ever

// What the tables say is what Windows does; Wine does not know all of it.
func TestTables(t *testing.T) {
	needBuild(t)
	r := build(t, "v1.2.3-4-gabcdef0")
	for name, rows := range map[string]map[string]map[string]string{
		"Property": {
			"ProductName":            {"Value": "Wacht agent"},
			"ProductVersion":         {"Value": "1.2.3"},
			"UpgradeCode":            {"Value": upgradeCode},
			"ALLUSERS":               {"Value": "1"},
			"REINSTALLMODE":          {"Value": "amus"}, // else a downgrade leaves no program
			"MsiHiddenProperties":    {"Value": "WACHT_TOKEN"},
			"SecureCustomProperties": {"Value": "WACHT_REPLACES;WACHT_COLLECTOR;WACHT_TOKEN;WACHT_PURGE"},
		},
		"Upgrade": {
			// 0x100: from 0.0.0 on. Without a last version and a language, all are replaced.
			upgradeCode: {"VersionMin": "0.0.0", "VersionMax": "", "Language": "", "Attributes": "256", "ActionProperty": "WACHT_REPLACES"},
		},
		"ServiceInstall": {
			// 16 is a process of its own, 2 starts with Windows.
			"Service": {
				"Name": "WachtAgent", "ServiceType": "16", "StartType": "2", "ErrorControl": "1",
				"StartName": `NT SERVICE\WachtAgent`, "Password": "", "Arguments": "service run", "Component_": "Agent",
			},
		},
		"ServiceControl": {
			// 1 and 2 start and stop at installing, 0x20 and 0x80 stop and delete at removing.
			"Service": {"Name": "WachtAgent", "Event": "163", "Wait": "1"},
		},
		"Component": {
			"Agent": {"Directory_": "INSTALLDIR", "Attributes": "256", "KeyPath": "Program"}, // 256: 64 bits
		},
		"CustomAction": {
			// 18 runs an installed program, 0x400 in the transaction, 0x800 as SYSTEM, and
			// 0x2000 keeps its arguments out of the log.
			"Prepare": {"Type": "11282", "Source": "Program", "Target": `service prepare "[WACHT_COLLECTOR]" "[WACHT_TOKEN]"`},
			"Halt":    {"Type": "3154", "Source": "Program", "Target": "service stop"}, // 0x40: a failure does not count
			"Purge":   {"Type": "3090", "Source": "Program", "Target": "service purge"},
		},
		"InstallExecuteSequence": {
			"Halt":    {"Condition": `REMOVE="ALL"`},
			"Prepare": {"Condition": "NOT REMOVE"},
			"Purge":   {"Condition": `REMOVE="ALL" AND WACHT_PURGE AND NOT UPGRADINGPRODUCTCODE`},
		},
	} {
		got := table(t, r, name)
		for key, row := range rows {
			for column, want := range row {
				if value, ok := got[key][column]; !ok || value != want {
					t.Errorf("%s %s: %s is %q, not %q", name, key, column, value, want)
				}
			}
		}
	}
	for name, row := range table(t, r, "Registry") {
		if row["Root"] != "2" || row["Key"] != `SYSTEM\CurrentControlSet\Services\EventLog\Application\WachtAgent` ||
			!slices.Contains([]string{`#%%SystemRoot%\System32\EventCreate.exe`, "#7"}, row["Value"]) {
			t.Errorf("Registry %s: %v", name, row)
		}
	}
}

// The service is configured before it starts, an old version goes before the new one
// comes, and what is kept is deleted while the program is there to do it.
func TestOrder(t *testing.T) {
	needBuild(t)
	rows := table(t, build(t, "v1.2.3"), "InstallExecuteSequence")
	last := 0
	for _, action := range []string{
		"FindRelatedProducts", "LaunchConditions", "InstallInitialize", "RemoveExistingProducts", "Halt", "StopServices", "DeleteServices",
		"Purge", "RemoveFiles", "InstallFiles", "InstallServices", "Prepare", "StartServices", "InstallFinalize",
	} {
		at, err := strconv.Atoi(rows[action]["Sequence"])
		if err != nil || at <= last {
			t.Errorf("%s is number %q, after number %d", action, rows[action]["Sequence"], last)
		}
		last = at
	}
}

// A build can be repeated, and no two versions are one product or one file.
func TestCodes(t *testing.T) {
	needBuild(t)
	a, again, b := build(t, "v1.2.3"), build(t, "v1.2.3"), build(t, "1d0ba5e")
	for i, file := range []string{a.program, a.installer} {
		one, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile([]string{again.program, again.installer}[i])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("two builds of %s differ", filepath.Base(file))
		}
	}
	if v := table(t, b, "Property")["ProductVersion"]["Value"]; v != "0.0.0" {
		t.Errorf("the version of a commit without a tag is %s", v)
	}
	product := func(r release) string { return table(t, r, "Property")["ProductCode"]["Value"] }
	if product(a) == product(b) {
		t.Errorf("two versions are the product %s", product(a))
	}
	const code = "Revision number (UUID)"
	if x, y := summaryOf(t, a), summaryOf(t, b); x[code] == y[code] || len(x[code]) != 38 || x["Template"] != "x64;1033" {
		t.Errorf("the summaries are %v and %v", x, y)
	}
}

// The program says what it is where Windows shows it.
func TestResources(t *testing.T) {
	needBuild(t)
	r := build(t, "v1.2.3-4-gabcdef0")
	dir := t.TempDir()
	output(t, "go", "tool", "-modfile=../tools/go.mod", "go-winres", "extract", "--dir", dir, r.program)
	text, err := os.ReadFile(filepath.Join(dir, "winres.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"file_version": "1.2.3.0"`, `"ProductVersion": "v1.2.3-4-gabcdef0"`, `"FileDescription": "Wacht agent"`, `"long-path-aware": true`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the resources lack %s:\n%s", want, text)
		}
	}
	if icons, err := filepath.Glob(filepath.Join(dir, "*.ico")); err != nil || len(icons) != 1 {
		t.Errorf("there are the icons %v, %v", icons, err)
	}
}

// signer is a certificate for signing code, with its key, in files.
func signer(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Wacht test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestSigned(t *testing.T) {
	needBuild(t)
	need(t, "osslsigncode", "osslsigncode")
	cert, key := signer(t)
	r := build(t, "v1.2.3", "SIGN_CERT="+cert, "SIGN_KEY="+key)
	for _, file := range []string{r.program, r.installer} {
		if out := output(t, "osslsigncode", "verify", "-CAfile", cert, "-in", file); !strings.Contains(out, "Wacht test") {
			t.Errorf("%s: %s", filepath.Base(file), out)
		}
	}
	// The program inside the installer is the signed one.
	dir := t.TempDir()
	output(t, "msiextract", "-C", dir, r.installer)
	var inside string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "wacht-agent.exe" {
			inside = path
		}
		return err
	})
	if err != nil || inside == "" {
		t.Fatalf("there is no program in the installer: %v", err)
	}
	output(t, "osslsigncode", "verify", "-CAfile", cert, "-in", inside)
}
