package notify

import (
	"maps"
	"slices"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/notify/smtp"
	"github.com/wacht-io/wacht/collector/internal/notify/webhook"
)

// kinds is the one table of the kinds of channels: fresh options by type.
func kinds() map[string]func() notice.Options {
	return map[string]func() notice.Options{
		"smtp":    func() notice.Options { return new(smtp.Options) },
		"webhook": func() notice.Options { return new(webhook.Options) },
	}
}

func kindNames() []string { return slices.Sorted(maps.Keys(kinds())) }
