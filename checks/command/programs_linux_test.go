package command_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/command"
)

// plugins is where Debian's monitoring-plugins puts its programs.
const plugins = "/usr/lib/nagios/plugins"

// expected is how a program is run, and what it must say. Where it depends on the
// machine, such as on packages to upgrade, more than one status is right.
type expected struct {
	args   []string
	status []checks.Status
	says   string   // in the summary
	perf   []string // labels of performance data, in order
}

func args(list ...string) []string { return list }

func status(list ...checks.Status) []checks.Status { return list }

// TestDebianPrograms runs every program that the packages have: those with a
// counterpart against it, and those for what is not here against nothing, which they
// must report as their kind is used to.
func TestDebianPrograms(t *testing.T) {
	if _, err := os.Stat(plugins + "/check_ldap"); err != nil {
		t.Skip("the package monitoring-plugins-standard is missing")
	}
	table := onThisMachine(t)
	maps.Copy(table, overTheNetwork(t))
	maps.Copy(table, withoutCounterpart(t))
	files, err := filepath.Glob(plugins + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "utils.pm" || name == "utils.sh" {
			continue // the libraries of the others
		}
		want, known := table[name]
		if !known {
			t.Errorf("%s is in no table: say how it is run and what it must say", name)
			continue
		}
		delete(table, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait long for nobody
			want.hold(t, file)
		})
	}
	if len(table) > 0 {
		t.Errorf("these programs are missing: %q", slices.Sorted(maps.Keys(table)))
	}
}

func (e expected) hold(t *testing.T, file string) {
	got, err := run(t.Context(), params(t, file, e.args...))
	if err != nil {
		if !strings.Contains(err.Error(), e.says) || e.status != nil {
			t.Errorf("it failed: %v", err)
		}
		return
	}
	if err := command.New().Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	r := got.Results[0]
	if !slices.Contains(e.status, r.Status) || !strings.Contains(r.Summary, e.says) {
		t.Errorf("%s, %q: it must be %v and say %q; besides: %s", r.Status, r.Summary, e.status, e.says, r.Evidence)
	}
	var labels []string
	for _, m := range r.Metrics {
		if strings.HasPrefix(m.Name, "value") {
			labels = append(labels, m.Labels[0].Value)
		}
	}
	if !slices.Equal(labels, e.perf) {
		t.Errorf("performance data of %q; it must be %q", labels, e.perf)
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// onThisMachine are the programs that look at the machine itself.
func onThisMachine(t *testing.T) map[string]expected {
	ok := status(checks.OK)
	mrtg := file(t, "1000 1 2\n1000 10 20 30 40\n1000 10 20 30 40\n")
	return map[string]expected{
		"check_apt":     {args("-t", "300"), status(checks.OK, checks.Warning, checks.Critical), "packages available for upgrade", args("available_upgrades", "critical_updates")},
		"check_cluster": {args("--service", "-d", "0,0,2", "-w", "0", "-c", "2"), status(checks.Warning), "2 ok, 0 warning, 0 unknown, 1 critical", nil},
		"check_disk":    {args("-w", "0%", "-c", "0%", "-p", "/"), ok, "DISK OK - free space: /", args("/")},
		"check_dummy":   {args("1", "so it is"), status(checks.Warning), "WARNING: so it is", nil},
		"check_file_age": {args("-w", "1000000", "-c", "2000000", "-f", file(t, "x")), ok, "seconds old and 1 bytes",
			args("age", "size")},
		"check_ide_smart": {args("-d", "/dev/null"), status(checks.Critical), "CRITICAL - SMART_CMD_ENABLE", nil},
		"check_load":      {args("-w", "9000", "-c", "9999"), ok, "LOAD OK - total load average", args("load1", "load5", "load15")},
		"check_log":       {args("-F", file(t, "a\nb\n"), "-O", filepath.Join(t.TempDir(), "old"), "-q", "x"), ok, "Log check data initialized", nil},
		"check_mrtg": {args("-F", mrtg, "-a", "MAX", "-v", "1", "-w", "50", "-c", "60", "-l", "Disk", "-u", "pct"), ok,
			"Max. Disk = 30 pct", args("Disk")},
		"check_mrtgtraf":  {args("-F", mrtg, "-a", "AVG", "-w", "1,1", "-c", "9999,9999"), status(checks.Warning), "Traffic WARNING", args("in", "out")},
		"check_nagios":    {args("-F", file(t, ""), "-e", "1", "-C", "/nowhere"), status(checks.Critical, checks.Warning), "NAGIOS", nil},
		"check_procs":     {args("-w", "1:99999"), ok, "PROCS OK", args("procs")},
		"check_swap":      {args("-w", "1%", "-c", "0%", "-n", "ok"), ok, "SWAP OK", args("swap")},
		"check_users":     {args("-w", "1000", "-c", "2000"), ok, "USERS OK", args("users")},
		"negate":          {args("-s", "-o", "WARNING", plugins+"/check_dummy", "0", "turned"), status(checks.Warning), "WARNING: turned", nil},
		"urlize":          {args("http://localhost/", plugins+"/check_dummy", "2"), status(checks.Critical), `<A href="http://localhost/">CRITICAL</A>`, nil},
		"check_icmp":      {args("-H", "127.0.0.1"), ok, "lost 0%", args("rta", "pl", "rtmax", "rtmin")},
		"check_host":      {args("-H", "127.0.0.1"), ok, "responds to ICMP", args("pkt", "rta")},
		"check_rta_multi": {args("-H", "127.0.0.1"), ok, "lost 0%", args("rta", "pl", "rtmax", "rtmin")},
		"check_ping":      {args("-H", "127.0.0.1", "-w", "1000,90%", "-c", "2000,100%", "-p", "1"), ok, "Packet loss = 0%", args("rta", "pl")},
		"check_fping":     {args("-H", "127.0.0.1", "-n", "1"), ok, "FPING OK - 127.0.0.1 (loss=0%", args("loss", "rta")},
	}
}

// withoutCounterpart are the programs for software that is not here.
func withoutCounterpart(t *testing.T) map[string]expected {
	critical, unknown := status(checks.Critical), status(checks.Unknown)
	return map[string]expected{
		"check_breeze":       {args("-H", "127.0.0.1", "-C", "public", "-w", "1", "-c", "2"), critical, "Signal Strength at: 0%", nil},
		"check_by_ssh":       {args("-H", "127.0.0.1", "-p", "1", "-C", "true"), unknown, "Remote command execution failed", nil},
		"check_dbi":          {args("-d", "none", "-q", "x"), unknown, "failed to initialize DBI", nil},
		"check_dhcp":         {args("-i", "lo", "-t", "1"), critical, "No DHCPOFFERs were received", nil},
		"check_disk_smb":     {args("-H", "127.0.0.1", "-P", "1", "-s", "x"), critical, "127.0.0.1", nil},
		"check_flexlm":       {args("-F", "/etc/passwd"), unknown, `Cannot find "lmstat"`, nil},
		"check_game":         {args("quake", "127.0.0.1"), nil, "segmentation fault", nil},
		"check_hpjd":         {args("-H", "127.0.0.1", "-p", "1", "-C", "x"), critical, "Timeout from host 127.0.0.1", nil},
		"check_ifoperstatus": {args("-H", "127.0.0.1", "-p", "1", "-k", "1", "-C", "x", "-t", "1"), unknown, "No snmp response from 127.0.0.1", nil},
		"check_ifstatus":     {args("-H", "127.0.0.1", "-p", "1", "-C", "x", "-t", "1"), unknown, "No snmp response from 127.0.0.1", nil},
		"check_ircd":         {args("-H", "127.0.0.1", "-p", "1"), unknown, "Could not connect socket", nil},
		"check_ldap":         {args("-H", "127.0.0.1", "-p", "1", "-b", "dc=x"), critical, "Could not bind to the LDAP server", nil},
		"check_ldaps":        {args("-H", "127.0.0.1", "-p", "1", "-b", "dc=x"), critical, "Could not", nil},
		"check_mailq":        {args("-w", "100000", "-c", "200000"), status(checks.OK, checks.Critical, checks.Unknown), "mailq", nil},
		"check_mysql":        {args("-H", "127.0.0.1", "-P", "1"), critical, "Can't connect to server on '127.0.0.1'", nil},
		"check_mysql_query":  {args("-H", "127.0.0.1", "-P", "1", "-q", "select 1"), critical, "QUERY CRITICAL", nil},
		"check_nwstat":       {args("-H", "127.0.0.1", "-p", "1", "-v", "LOAD1"), status(checks.Warning), "Connection refused", nil},
		"check_oracle":       {args("--tns", "x"), unknown, "Cannot determine ORACLE_HOME", nil},
		"check_overcr":       {args("-H", "127.0.0.1", "-p", "1"), unknown, "Connection refused", nil},
		"check_pgsql":        {args("-H", "127.0.0.1", "-P", "1"), critical, "no connection to 'template1'", nil},
		"check_radius":       {args("-H", "127.0.0.1", "-F", file(t, ""), "-u", "a", "-p", "b"), unknown, "onfig", nil},
		"check_rpc":          {args("-H", "127.0.0.1", "-C", "nfs"), critical, "rpcinfo", nil},
		"check_sensors":      {nil, status(checks.OK, checks.Warning, checks.Unknown), "ensor", nil},
		"check_snmp":         {args("-H", "127.0.0.1", "-p", "1", "-t", "1", "-e", "0", "-o", ".1.3.6.1.2.1.1.3.0"), unknown, "No Response from 127.0.0.1", nil},
		"check_wave":         {args("-H", "127.0.0.1", "-w", "1", "-c", "2"), critical, "", nil},
	}
}
