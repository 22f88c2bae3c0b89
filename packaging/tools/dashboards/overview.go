package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// levels are the values of wacht_check_level.
var levels = []string{"ok", "warning", "critical", "unknown", "stale"}

func overview() *dashboard.DashboardBuilder {
	const chosen = `customer=~"$customer",site=~"$site"`
	b := start("wacht-overview", "Wacht: all customers",
		"Hosts, levels of their check states, open incidents and silence. Needs a Prometheus that scrapes the collector's /metrics and /sd.",
		"Wacht by Prometheus", "wacht-prometheus").
		WithVariable(several(choice("customer", "Customer", "label_values(wacht_host_info, customer)"))).
		WithVariable(several(choice("site", "Site", `label_values(wacht_host_info{customer=~"$customer"}, site)`)))

	count := func(title, expr string, bad *float64) {
		b.WithPanel(figure(panel{title: title, bad: bad, queries: []query{{expr: expr}}}))
	}
	total := func(metric string) string { return fmt.Sprintf(`sum(%s{%s})`, metric, chosen) }
	at1 := at(1)
	count("Hosts", `count(wacht_host_info{`+chosen+`})`, nil)
	count("Connected", total("wacht_host_connected"), nil)
	count("Silent", total("wacht_host_silent"), at1)
	count("Open incidents", total("wacht_host_open_incidents"), at1)
	for _, level := range []int{2, 1, 3, 4} {
		count("States "+levels[level], ofLevel(chosen, level), at1)
	}

	b.WithRow(row("Over time"))
	states := panel{title: "Check states by level", stacked: true}
	for level, name := range levels {
		states.queries = append(states.queries, query{ofLevel(chosen, level), name})
	}
	b.WithPanel(graph(states))
	b.WithPanel(graph(panel{title: "Open incidents", stacked: true, queries: []query{
		{`sum by (customer) (wacht_host_open_incidents{` + chosen + `})`, "{{customer}}"},
	}}))
	b.WithPanel(graph(panel{title: "Hosts", queries: []query{
		{total("wacht_host_connected"), "connected"},
		{total("wacht_host_silent"), "silent"},
		{`count(wacht_host_info{` + chosen + `})`, "all"},
	}}))

	b.WithRow(row("What is wrong now"))
	b.WithPanel(list(panel{title: "Critical", queries: []query{{expr: `wacht_check_level{` + chosen + `} == 2`}}}))
	b.WithPanel(list(panel{title: "Silent hosts, and for how long", unit: units.DurationSeconds, queries: []query{
		{expr: `time() - wacht_host_last_seen_timestamp_seconds{` + chosen + `} and wacht_host_silent{` + chosen + `} == 1`},
	}}))
	b.WithPanel(list(panel{title: "Most open incidents", queries: []query{
		{expr: `topk(20, wacht_host_open_incidents{` + chosen + `} > 0)`},
	}}))
	b.WithPanel(list(panel{title: "Fullest disks", unit: units.PercentUnit, queries: []query{
		{expr: `topk(20, 1 - wacht_disk_free_ratio{` + chosen + `})`},
	}}))
	return b
}

// ofLevel counts check states at a level; none is 0, not nothing.
func ofLevel(chosen string, level int) string {
	return fmt.Sprintf(`count(wacht_check_level{%s} == %d) or vector(0)`, chosen, level)
}
