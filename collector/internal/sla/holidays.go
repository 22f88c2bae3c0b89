package sla

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/nl"
)

// holidays are days without service. The years that a ticket can live in are computed
// beforehand, so that a level is never written to.
type holidays map[date]struct{}

const firstHolidayYear, lastHolidayYear = 2000, 2100

func (h holidays) has(d date) bool {
	_, ok := h[d]
	return ok
}

// countries are the calendars that a level can name, by ISO 3166 code.
func countries() map[string][]*cal.Holiday {
	return map[string][]*cal.Holiday{"nl": nl.Holidays}
}

// countryHolidays returns a country's calendar less the holidays named in except. They
// are left out by name and not by date: in 2016 Ascension Day was on 5 May, and nobody
// worked.
func countryHolidays(country string, except []string) ([]*cal.Holiday, error) {
	all := countries()
	list, ok := all[country]
	if !ok {
		return nil, fmt.Errorf("no holidays are known of country %q; there are those of %s",
			country, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	for _, name := range except {
		if !slices.ContainsFunc(list, func(h *cal.Holiday) bool { return h.Name == name }) {
			return nil, fmt.Errorf("%q is not a holiday of %q; there are %s", name, country, holidayNames(list))
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(h *cal.Holiday) bool {
		return slices.Contains(except, h.Name)
	}), nil
}

func holidayNames(list []*cal.Holiday) string {
	names := make([]string, len(list))
	for i, h := range list {
		names[i] = h.Name
	}
	return strings.Join(names, ", ")
}

// compute puts the dates on which the holidays are kept into the set.
func (h holidays) compute(list []*cal.Holiday) {
	for year := firstHolidayYear; year <= lastHolidayYear; year++ {
		for _, holiday := range list {
			_, kept := holiday.Calc(year)
			if kept.IsZero() {
				continue
			}
			// The library answers with midnight in the machine's zone, which a change
			// of the clock can have moved by an hour to the day before.
			h[dateOf(kept.Add(2*time.Hour))] = struct{}{}
		}
	}
}
