package smart

import (
	"strconv"
	"strings"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
)

// Bits of smartctl's exit status (smartctl(8), "EXIT STATUS").
const (
	exitUsage         = 1 << 0
	exitOpen          = 1 << 1
	exitFailing       = 1 << 3
	exitPrefail       = 1 << 4
	exitPrefailBefore = 1 << 5
	exitErrorLog      = 1 << 6
	exitSelfTest      = 1 << 7
)

// metrics names the figures of one drive.
func (r *report) metrics() []checks.Metric {
	var l metric.List
	exit := func(bit int) bool { return r.Smartctl.ExitStatus&bit != 0 }
	l.Gauge("overall_failed", truth(r.failing()))
	l.Gauge("prefail_failed", truth(exit(exitPrefail)))
	l.Gauge("prefail_failed_before", truth(exit(exitPrefailBefore)))
	l.Gauge("errors_logged", truth(exit(exitErrorLog)))
	l.Gauge("selftest_failed", truth(exit(exitSelfTest) || r.newestTest().failed))
	l.Gauge("rotating", truth(r.rotating()))
	r.heat(&l)
	r.wear(&l)
	r.ata(&l)
	r.nvme(&l)
	r.sas(&l)
	if h := r.PowerOn.Hours; h.known {
		l.Gauge("power_on_seconds", h.value*3600+r.PowerOn.Minutes.value*60)
	}
	return l
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (r *report) failing() bool {
	return r.Smartctl.ExitStatus&exitFailing != 0 || r.Status.Passed != nil && !*r.Status.Passed
}

// heat gives the temperature with the drive's own limits. Drives without a sensor
// report 0.
func (r *report) heat(l *metric.List) {
	t := r.Temperature.Current
	if !t.known || t.value <= 0 || t.value > 150 {
		return
	}
	l.Gauge("temperature_celsius", t.value)
	own := false
	limit := func(name string, n number) {
		if n.known && n.value > 0 && n.value < 150 {
			l.Gauge(name, n.value)
			own = true
		}
	}
	limit("temperature_warning_celsius", r.NVMeLimits.Warning)
	if limit("temperature_critical_celsius", r.NVMeLimits.Critical); !own {
		limit("temperature_critical_celsius", r.Temperature.DriveTrip)
	}
	l.Gauge("own_limits", truth(own))
}

// lifeLeft are the attributes whose normalised value is the life that is left, in
// percent, by the names in smartctl's drive database.
func lifeLeft() []string {
	return []string{
		"Media_Wearout_Indicator", "Wear_Leveling_Count", "SSD_Life_Left", "Percent_Lifetime_Remain",
		"Percent_Life_Remaining", "Remaining_Lifetime_Perc", "Drive_Life_Remaining%", "Perc_Rated_Life_Remain",
	}
}

// wear gives the part of a solid-state drive's life that is used, from the source
// that is nearest to a standard.
func (r *report) wear(l *metric.List) {
	if r.rotating() {
		return
	}
	if used, ok := r.lifeUsed(); ok {
		l.Gauge("life_used_ratio", used)
	}
}

func (r *report) lifeUsed() (float64, bool) {
	if r.NVMe != nil && r.NVMe.PercentageUsed.known {
		return r.NVMe.PercentageUsed.value / 100, true
	}
	for _, page := range r.ATAStats.Pages {
		for _, s := range page.Table {
			if s.Name == "Percentage Used Endurance Indicator" && s.Flags.Valid && s.Value.known {
				return s.Value.value / 100, true
			}
		}
	}
	if r.Endurance.Percent.known {
		return r.Endurance.Percent.value / 100, true
	}
	for _, name := range lifeLeft() {
		for i := range r.Attributes.Table {
			if a := &r.Attributes.Table[i]; a.Name == name && a.Value.known && a.Value.value <= 100 {
				return (100 - a.Value.value) / 100, true
			}
		}
	}
	return 0, false
}

// ata gives the attributes; should one be there twice, its first value counts.
func (r *report) ata(l *metric.List) {
	seen := make(map[int]bool)
	for i := range r.Attributes.Table {
		if a := &r.Attributes.Table[i]; !seen[a.ID] {
			seen[a.ID] = true
			a.metrics(l)
		}
	}
}

func (r *report) nvme(l *metric.List) {
	if r.NVMe == nil {
		return
	}
	gauge(l, "critical_warning", r.NVMe.CriticalWarning, 1)
	gauge(l, "available_spare_ratio", r.NVMe.Spare, 100)
	gauge(l, "available_spare_threshold_ratio", r.NVMe.SpareThreshold, 100)
	gauge(l, "media_errors", r.NVMe.MediaErrors, 1)
}

func (r *report) sas(l *metric.List) {
	gauge(l, "grown_defects", r.GrownDefects, 1)
	sum, known := 0.0, false
	for _, c := range []scsiCounters{r.SCSIErrors.Read, r.SCSIErrors.Write, r.SCSIErrors.Verify} {
		sum += c.Uncorrected.value
		known = known || c.Uncorrected.known
	}
	if known {
		l.Gauge("uncorrected_errors", sum)
	}
}

func gauge(l *metric.List, name string, n number, divisor float64) {
	if n.known {
		l.Gauge(name, n.value/divisor)
	}
}

// metrics reads one ATA attribute. A number means different things to different
// vendors, so the name that smartctl's drive database gives must fit as well.
// Attributes 1, 7 and 195 are left alone: their raw values mean nothing on Seagate's.
func (a *attribute) metrics(l *metric.List) {
	switch {
	case a.ID == 5 && a.named("Realloc", "Re-alloc", "Retired_Block"):
		a.count(l, "reallocated_sectors")
	case a.ID == 10 && a.named("Spin_Retry"):
		a.count(l, "spin_retries")
	case a.ID == 184 && a.named("End-to-End"):
		gauge(l, "end_to_end_normalized", a.Value, 1)
	case a.ID == 187 && a.named("Uncorr", "_UE_", "Reported_UNC"):
		a.count(l, "reported_uncorrectable")
	case a.ID == 188 && a.named("Command_Timeout"):
		a.timeouts(l)
	case a.ID == 196 && a.named("Realloc"):
		a.count(l, "reallocation_events")
	case a.ID == 197 && a.named("Pending"):
		a.count(l, "pending_sectors")
	case a.ID == 198 && a.named("Uncorr", "_UNC"):
		a.count(l, "offline_uncorrectable")
	case a.ID == 199 && a.named("CRC"):
		a.count(l, "crc_errors")
	}
}

// named says whether the attribute's name holds one of the words. The database
// marks what a firmware is known to get wrong as bogus.
func (a *attribute) named(words ...string) bool {
	if strings.Contains(a.Name, "Bogus") {
		return false
	}
	for _, word := range words {
		if strings.Contains(a.Name, word) {
			return true
		}
	}
	return false
}

// count gives the first number of the raw value's text: some vendors pack more
// into the raw value, which smartctl's drive database knows to take apart.
func (a *attribute) count(l *metric.List, name string) {
	digits := a.Raw.Text
	if i := strings.IndexFunc(digits, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		digits = digits[:i]
	}
	if strings.HasPrefix(a.Raw.Text, "0x") {
		return
	}
	if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
		l.Gauge(name, float64(n))
	}
}

// timeouts takes Seagate's three packed counters of 16 bits apart; the other
// vendors' single counter fits into the first.
func (a *attribute) timeouts(l *metric.List) {
	raw := a.Raw.Value
	if !raw.known {
		return
	}
	for i, over := range []string{"any", "5s", "7.5s"} {
		l.Gauge("command_timeouts", float64(raw.bits>>(16*i)&0xffff), checks.Label{Name: "slower_than", Value: over})
	}
}

// selfTest is the outcome of a drive's test of itself.
type selfTest struct {
	failed bool
	text   string
}

// newestTest finds the newest test that came to an end.
func (r *report) newestTest() selfTest {
	for _, log := range []ataTestLog{r.ATATests.Extended, r.ATATests.Standard} {
		for _, test := range log.Table {
			if test.Status.Passed != nil {
				return selfTest{!*test.Status.Passed, test.Status.Text}
			}
		}
	}
	for _, test := range r.NVMeTests.Table {
		// NVM Express 1.4, figure 202: 0 passed, 5 to 7 failed, the others were stopped.
		if v := test.Result.Value; v.known && (v.value == 0 || v.value >= 5 && v.value <= 7) {
			return selfTest{v.value != 0, test.Result.Text}
		}
	}
	// SPC-4, table 290: 3 to 7 failed.
	v := r.SCSITest.Result.Value
	return selfTest{v.known && v.value >= 3 && v.value <= 7, r.SCSITest.Result.Text}
}
