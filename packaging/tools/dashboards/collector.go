package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func collector() *dashboard.DashboardBuilder {
	b := start("wacht-collector", "Wacht: the collector",
		"The collector's own health. Needs a Prometheus that scrapes its /metrics.", "Wacht by Prometheus", "wacht-prometheus").
		WithVariable(choice("instance", "Collector", "label_values(wacht_build_info, instance)"))
	collectorNow(b)
	collectorWork(b)
	collectorNotices(b)
	collectorProcess(b)
	return b
}

// own selects a metric of the chosen collector, with more matchers if need be.
func own(metric, more string) string { return metric + `{instance="$instance"` + more + `}` }

func ownRate(metric, more string) string { return "rate(" + own(metric, more) + "[$__rate_interval])" }

// slowest is the time that all but one in a hundred take at most.
func slowest(histogram, by string) string {
	if by != "" {
		by = ", " + by
	}
	return "histogram_quantile(0.99, sum by (le" + by + ") (" + ownRate(histogram+"_bucket", "") + "))"
}

func collectorNow(b *dashboard.DashboardBuilder) {
	b.WithPanel(label(panel{title: "Version", queries: []query{{own("wacht_build_info", ""), "{{version}}"}}}))
	for _, p := range []panel{
		{title: "Scraped", help: "1 while Prometheus reaches the collector", queries: []query{{expr: own("up", "")}}},
		{title: "Hosts", queries: []query{{expr: own("wacht_collector_hosts", "")}}},
		{title: "Open streams", queries: []query{{expr: own("wacht_collector_streams", "")}}},
		{title: "Silent hosts", bad: at(1), queries: []query{{expr: own("wacht_collector_silent_hosts", "")}}},
		{title: "Check states", queries: []query{{expr: own("wacht_collector_check_states", "")}}},
		{title: "Open incidents", queries: []query{{expr: own("wacht_collector_open_incidents", "")}}},
		{title: "Dead letters in a day", bad: at(1), queries: []query{{expr: `sum(increase(` + own("wacht_notify_deliveries_total", `,result="dead"`) + `[1d]))`}}},
	} {
		b.WithPanel(figure(p))
	}
}

func collectorWork(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Results and history"))
	for _, p := range []panel{
		{title: "Decided and archived", help: "A second, each durably", queries: []query{
			{ownRate("wacht_collector_results_total", ""), "results"},
			{ownRate("wacht_collector_samples_total", ""), "samples"},
			{ownRate("wacht_collector_transitions_total", ""), "changes of level"},
		}},
		{title: "Durable commits", unit: units.Seconds, queries: []query{
			{slowest("wacht_collector_commit_seconds", ""), "99 of 100 within"},
			{ownRate("wacht_collector_commit_seconds_sum", "") + " / " + ownRate("wacht_collector_commit_seconds_count", ""), "mean"},
		}},
		{title: "Waits to be applied", queries: []query{{own("wacht_collector_queue_items", ""), "batches and steps"}}},
		{title: "Failures in an hour", queries: []query{
			{"increase(" + own("wacht_collector_commit_errors_total", "") + "[1h])", "commits"},
			{"increase(" + own("wacht_collector_archive_errors_total", "") + "[1h])", "groups not archived"},
			{"increase(" + own("wacht_history_failures_total", "") + "[1h])", "history reopened"},
			{"increase(" + own("wacht_history_damaged_total", "") + "[1h])", "damaged and set aside"},
		}},
		{title: "Runs refused and lost in an hour", queries: []query{
			{"increase(" + own("wacht_collector_runs_refused_total", "") + "[1h])", "refused"},
			{"increase(" + own("wacht_collector_runs_lost_total", "") + "[1h])", "lost"},
		}},
		{title: "Samples a second by what became of them", queries: []query{{ownRate("wacht_history_samples_total", ""), "{{outcome}}"}}},
		{title: "Series in history", queries: []query{{own("prometheus_tsdb_head_series", ""), "series"}}},
		{title: "History on disk", unit: units.BytesIEC, queries: []query{
			{own("prometheus_tsdb_storage_blocks_bytes", ""), "blocks"},
			{own("prometheus_tsdb_wal_storage_size_bytes", ""), "log"},
		}},
		{title: "Time that queries took", unit: units.Seconds, queries: []query{
			{own("prometheus_engine_query_duration_seconds", `,quantile="0.99"`), "{{slice}}"},
		}},
	} {
		b.WithPanel(graph(p))
	}
}

func collectorNotices(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Notices"))
	for _, p := range []panel{
		{title: "Attempts in an hour", queries: []query{{"increase(" + own("wacht_notify_deliveries_total", "") + "[1h])", "{{channel}} {{result}}"}}},
		{title: "Neither sent nor dead", queries: []query{{own("wacht_notify_pending", ""), "{{channel}}"}}},
		{title: "From decision to acceptance", unit: units.Seconds, queries: []query{{slowest("wacht_notify_delivery_seconds", "channel"), "{{channel}}, 99 of 100 within"}}},
	} {
		b.WithPanel(graph(p))
	}
}

func collectorProcess(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Process"))
	for _, p := range []panel{
		{title: "Memory", unit: units.BytesIEC, queries: []query{
			{own("process_resident_memory_bytes", ""), "resident"},
			{own("go_memstats_heap_inuse_bytes", ""), "heap in use"},
		}},
		{title: "Processors", queries: []query{{ownRate("process_cpu_seconds_total", ""), "in use"}}},
		{title: "Goroutines and files", queries: []query{
			{own("go_goroutines", ""), "goroutines"},
			{own("process_open_fds", ""), "open files"},
		}},
	} {
		b.WithPanel(graph(p))
	}
	b.WithPanel(list(panel{title: "Alerts that Prometheus has", width: 24, queries: []query{{expr: `ALERTS{alertname=~"Wacht.*"}`}}}))
}
