package smart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// report is what this check reads of smartctl's JSON, as smartctl.cpp, ataprint.cpp,
// nvmeprint.cpp and scsiprint.cpp of smartmontools write it. Whatever a version of
// smartctl leaves out stays unset.
type report struct {
	Smartctl struct {
		ExitStatus int       `json:"exit_status"`
		Messages   []message `json:"messages"`
	} `json:"smartctl"`
	Device       protocol      `json:"device"`
	Model        string        `json:"model_name"`
	SCSIModel    string        `json:"scsi_model_name"`
	Serial       string        `json:"serial_number"`
	WWN          *wwn          `json:"wwn"`
	RotationRate number        `json:"rotation_rate"`
	Trim         trim          `json:"trim"`
	Support      support       `json:"smart_support"`
	Status       status        `json:"smart_status"`
	Temperature  temperatures  `json:"temperature"`
	PowerOn      powerOn       `json:"power_on_time"`
	Endurance    endurance     `json:"endurance_used"`
	Attributes   attributes    `json:"ata_smart_attributes"`
	ATATests     ataTests      `json:"ata_smart_self_test_log"`
	ATAStats     ataStatistics `json:"ata_device_statistics"`
	NVMe         *nvmeLog      `json:"nvme_smart_health_information_log"`
	NVMeLimits   nvmeLimits    `json:"nvme_composite_temperature_threshold"`
	NVMeTests    nvmeTests     `json:"nvme_self_test_log"`
	GrownDefects number        `json:"scsi_grown_defect_list"`
	SCSIErrors   scsiErrors    `json:"scsi_error_counter_log"`
	SCSITest     scsiTest      `json:"scsi_self_test_0"`
}

type message struct {
	Text     string `json:"string"`
	Severity string `json:"severity"`
}

type protocol struct {
	Protocol string `json:"protocol"`
}

type wwn struct {
	NAA uint64 `json:"naa"`
	OUI uint64 `json:"oui"`
	ID  uint64 `json:"id"`
}

type trim struct {
	Supported bool `json:"supported"`
}

type status struct {
	Passed *bool `json:"passed"`
}

type temperatures struct {
	Current   number `json:"current"`
	DriveTrip number `json:"drive_trip"`
}

type powerOn struct {
	Hours   number `json:"hours"`
	Minutes number `json:"minutes"`
}

type endurance struct {
	Percent number `json:"current_percent"`
}

type attributes struct {
	Table []attribute `json:"table"`
}

type attribute struct {
	ID         int    `json:"id"`
	Name       string `json:"name"`
	Value      number `json:"value"`
	WhenFailed string `json:"when_failed"`
	Raw        struct {
		Value number `json:"value"`
		Text  string `json:"string"`
	} `json:"raw"`
}

type ataTests struct {
	Standard ataTestLog `json:"standard"`
	Extended ataTestLog `json:"extended"`
}

type ataTestLog struct {
	Table []struct {
		Status struct {
			Text   string `json:"string"`
			Passed *bool  `json:"passed"` // unset when aborted or in progress
		} `json:"status"`
	} `json:"table"`
}

type ataStatistics struct {
	Pages []struct {
		Number int `json:"number"`
		Table  []struct {
			Name  string `json:"name"`
			Value number `json:"value"`
			Flags struct {
				Valid bool `json:"valid"`
			} `json:"flags"`
		} `json:"table"`
	} `json:"pages"`
}

type nvmeLog struct {
	CriticalWarning number `json:"critical_warning"`
	Spare           number `json:"available_spare"`
	SpareThreshold  number `json:"available_spare_threshold"`
	PercentageUsed  number `json:"percentage_used"`
	MediaErrors     number `json:"media_errors"`
}

type nvmeLimits struct {
	Warning  number `json:"warning"`
	Critical number `json:"critical"`
}

type nvmeTests struct {
	Table []struct {
		Result struct {
			Value number `json:"value"`
			Text  string `json:"string"`
		} `json:"self_test_result"`
	} `json:"table"`
}

type scsiErrors struct {
	Read   scsiCounters `json:"read"`
	Write  scsiCounters `json:"write"`
	Verify scsiCounters `json:"verify"`
}

type scsiCounters struct {
	Uncorrected number `json:"total_uncorrected_errors"`
}

type scsiTest struct {
	Result struct {
		Value number `json:"value"`
		Text  string `json:"string"`
	} `json:"result"`
}

// support says whether the drive has SMART. Versions before 7.2 left it out, and
// some wrote a mere truth value.
type support struct {
	Known, Available, Enabled bool
}

// UnmarshalJSON reads both forms.
func (s *support) UnmarshalJSON(data []byte) error {
	var object struct {
		Available bool `json:"available"`
		Enabled   bool `json:"enabled"`
	}
	if err := json.Unmarshal(data, &object); err == nil {
		*s = support{true, object.Available, object.Enabled}
		return nil
	}
	var b bool
	if err := json.Unmarshal(data, &b); err != nil {
		return fmt.Errorf("reading smart_support: %w", err)
	}
	*s = support{true, b, b}
	return nil
}

// number is a figure that may be missing, or too wide for any type of Go: smartctl
// writes up to 128 bits. Anything else than a number counts as missing.
type number struct {
	known bool
	value float64
	bits  uint64 // exact, for whole numbers up to 64 bits
}

// UnmarshalJSON never fails, so that one odd field doesn't hide the others.
func (n *number) UnmarshalJSON(data []byte) error {
	*n = number{}
	f, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return nil //nolint:nilerr // what is no number is missing
	}
	n.known, n.value = true, f
	n.bits, _ = strconv.ParseUint(string(data), 10, 64)
	return nil
}

// read decodes one document.
func read(data []byte) (*report, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, fmt.Errorf("smartctl wrote nothing")
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading what smartctl wrote: %w", err)
	}
	return &r, nil
}

// name is the drive's model as a person knows it.
func (r *report) name() string {
	for _, model := range []string{r.Model, r.SCSIModel} {
		if model = strings.TrimSpace(model); model != "" {
			return model
		}
	}
	return "drive of an unknown model"
}

// identity is what history belongs to: the serial number, or else the WWN.
func (r *report) identity() string {
	if serial := strings.TrimSpace(r.Serial); serial != "" {
		return serial
	}
	if r.WWN != nil {
		return fmt.Sprintf("wwn-%x%06x%09x", r.WWN.NAA, r.WWN.OUI, r.WWN.ID)
	}
	return ""
}

// rotating tells a hard disk from a solid-state drive. Old disks give no rotation
// rate; they have no TRIM either.
func (r *report) rotating() bool {
	switch {
	case r.NVMe != nil || r.Device.Protocol == "NVMe":
		return false
	case r.RotationRate.known:
		return r.RotationRate.value > 0
	}
	return !r.Trim.Supported
}

// problems joins what smartctl complained of.
func (r *report) problems() string {
	var out []string
	for _, m := range r.Smartctl.Messages {
		out = append(out, m.Text)
	}
	return strings.Join(out, "; ")
}
