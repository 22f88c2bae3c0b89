package linux

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The same source gives the same bytes, whatever the zone and the mask are.
func TestReproducible(t *testing.T) {
	again := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077 && exec ./build "$0"`, again)
	cmd.Env = append(os.Environ(), "ARCHES="+runtime.GOARCH, "VERSION=v"+newer, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building again: %v\n%s", err, out)
	}
	seen := 0
	for _, entry := range entries(t, packages) {
		if !strings.Contains(entry, newer) {
			continue
		}
		seen++
		if sum(t, filepath.Join(packages, entry)) != sum(t, filepath.Join(again, entry)) {
			t.Errorf("%s differs when it is built again", entry)
		}
	}
	if seen < 11 { // three debs, three rpms, five lists
		t.Errorf("only %d files were built", seen)
	}
}

// TestPrograms demands programs that need no library and are stripped, for the
// architecture that the package says.
func TestPrograms(t *testing.T) {
	need(t, "dpkg-deb")
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for part, names := range map[string][]string{
		"agent":             {"usr/bin/wacht-agent", "usr/lib/wacht/wacht-smart-helper", "usr/lib/wacht/plugins/wacht-probe"},
		"collector":         {"usr/bin/wacht-collector"},
		"plugin-containers": {"usr/lib/wacht/plugins/wacht-plugin-containers"},
	} {
		root := t.TempDir()
		output(t, "dpkg-deb", "-x", deb(part, newer), root)
		for _, name := range names {
			program(t, root+"/"+name, machines[runtime.GOARCH])
		}
	}
}

func program(t *testing.T, path string, want elf.Machine) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if file.Machine != want {
		t.Errorf("%s is for %s, not %s", path, file.Machine, want)
	}
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s needs %v, %v", path, libraries, err)
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
		t.Errorf("%s is not stripped", path)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Name()
	}
	return names
}

func sum(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return sha256.Sum256(data)
}

// An agent is fetched by every machine.
func TestAgentSize(t *testing.T) {
	const most = 15 << 20
	info, err := os.Stat(deb("agent", newer))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the agent's deb has %.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > most {
		t.Errorf("the agent's deb has %d bytes, more than %d", info.Size(), most)
	}
}

func TestLintian(t *testing.T) {
	need(t, "lintian")
	output(t, "lintian", "--allow-root", "--fail-on", "error,warning", deb("agent", newer), deb("collector", newer), deb("plugin-containers", newer))
}

// No unit gives more than it has to. systemd-analyze(1) counts ten times the exposure.
func TestUnitsExposure(t *testing.T) {
	need(t, "systemd-analyze")
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) < 4 {
		t.Fatalf("units: %v, %v", units, err)
	}
	for _, unit := range units {
		path, err := filepath.Abs(unit)
		if err != nil {
			t.Fatal(err)
		}
		out := output(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", path)
		t.Log(out[max(0, strings.Index(out, "Overall")):])
	}
}

func TestRPM(t *testing.T) {
	need(t, "rpm")
	for part, want := range map[string][]string{
		"agent": {
			"/etc/wacht/agent.yaml", "/usr/bin/wacht-agent", "/usr/lib/wacht/plugins/wacht-probe", "/usr/lib/wacht/wacht-smart-helper",
			"/usr/lib/systemd/system/wacht-agent.service", "/usr/lib/systemd/system/wacht-smart-helper.socket",
			"/usr/lib/sysusers.d/wacht-agent.conf", "/usr/share/man/man1/wacht-agent.1.gz",
			"/usr/share/bash-completion/completions/wacht-agent", "/usr/share/zsh/site-functions/_wacht-agent",
			"/usr/share/fish/vendor_completions.d/wacht-agent.fish", "/usr/share/licenses/wacht-agent/LICENSE",
		},
		"collector": {
			"/etc/wacht/collector.yaml", "/usr/bin/wacht-collector", "/usr/lib/systemd/system/wacht-collector.service",
			"/usr/lib/sysusers.d/wacht-collector.conf", "/usr/share/man/man1/wacht-collector-serve.1.gz",
			"/usr/share/bash-completion/completions/wacht-collector", "/usr/share/licenses/wacht-collector/LICENSE",
		},
	} {
		path := rpm(t, part, newer)
		if out := output(t, "rpm", "-K", path); !strings.Contains(out, "digests OK") {
			t.Errorf("rpm -K: %s", out)
		}
		files := strings.Fields(output(t, "rpm", "-qpl", path))
		for _, file := range want {
			if !slices.Contains(files, file) {
				t.Errorf("wacht-%s has no %s: %s", part, file, files)
			}
		}
		config := "/etc/wacht/" + part + ".yaml"
		if got := strings.Fields(output(t, "rpm", "-qp", "--configfiles", path)); !slices.Equal(got, []string{config}) {
			t.Errorf("the configuration files of wacht-%s are %s", part, got)
		}
		if got := output(t, "rpm", "-qp", "--queryformat", "%{NAME} %{VERSION} %{LICENSE}", path); got != "wacht-"+part+" "+newer+" Apache-2.0" {
			t.Errorf("the rpm says %s", got)
		}
	}
}

// What a program is linked with is told in CycloneDX, beside its package.
func TestSBOM(t *testing.T) {
	lists, err := filepath.Glob(filepath.Join(packages, "*_"+newer+"_*.cdx.json"))
	if err != nil || len(lists) != 5 {
		t.Fatalf("the lists are %v, %v", lists, err)
	}
	for _, path := range lists {
		var bom struct {
			BOMFormat  string `json:"bomFormat"`
			Components []struct{ Name, Version, PURL string }
		}
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.NewDecoder(bytes.NewReader(data)).Decode(&bom)
		}
		if err != nil || bom.BOMFormat != "CycloneDX" {
			t.Fatalf("%s: %v, format %q", path, err, bom.BOMFormat)
		}
		for _, c := range bom.Components {
			if c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") {
				t.Errorf("%s: %+v", path, c)
			}
		}
		if len(bom.Components) == 0 {
			t.Errorf("%s lists nothing", path)
		}
	}
}

// The scripts are plain sh.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("*/*-p*")
	if err != nil || len(scripts) != 12 {
		t.Fatalf("the scripts are %v, %v", scripts, err)
	}
	for _, script := range scripts {
		output(t, "sh", "-n", script)
	}
}
