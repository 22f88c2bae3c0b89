package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func host() *dashboard.DashboardBuilder {
	b := start("wacht-host", "Wacht: a host",
		"What a host's checks measured. Needs only the collector itself, which answers PromQL; a Prometheus that scrapes it does as well.",
		"Wacht", "wacht").
		WithVariable(choice("customer", "Customer", "label_values(customer)")).
		WithVariable(choice("site", "Site", `label_values({customer="$customer"}, site)`)).
		WithVariable(choice("host", "Host", `label_values({customer="$customer",site="$site"}, host)`))
	hostNow(b)
	hostLoad(b)
	hostDisks(b)
	hostNetwork(b)
	hostContainers(b)
	hostRest(b)
	return b
}

// of selects a metric of the chosen host.
func of(metric string) string {
	return metric + `{customer="$customer",site="$site",host="$host"}`
}

// per is how fast a counter of the chosen host rises.
func per(metric string) string { return "rate(" + of(metric) + "[$__rate_interval])" }

func hostNow(b *dashboard.DashboardBuilder) {
	for _, p := range []panel{
		{title: "Up for", unit: units.DurationSeconds, queries: []query{{expr: of("wacht_uptime_uptime_seconds")}}},
		{title: "Processors in use", unit: units.PercentUnit, bad: at(0.9), queries: []query{{expr: of("wacht_cpu_used_ratio")}}},
		{title: "Memory in use", unit: units.PercentUnit, bad: at(0.9), queries: []query{{expr: "1 - " + of("wacht_memory_available_ratio")}}},
		{title: "Fullest disk", unit: units.PercentUnit, bad: at(0.9), queries: []query{{expr: "max(1 - " + of("wacht_disk_free_ratio") + ")"}}},
		{title: "Packets lost", unit: units.PercentUnit, bad: at(0.05), queries: []query{{expr: "max(" + of("wacht_ping_loss_ratio") + ")"}}},
		{title: "Services that should run and do not", bad: at(1), queries: []query{
			{expr: "sum(" + of("wacht_service_expected") + " * (1 - " + of("wacht_service_active") + "))"},
		}},
		{title: "Hottest drive", unit: units.Celsius, bad: at(60), queries: []query{{expr: "max(" + of("wacht_smart_temperature_celsius") + ")"}}},
		{title: "Reboot required", help: "1 when the system wants to be restarted", bad: at(1), queries: []query{{expr: of("wacht_uptime_reboot_required")}}},
	} {
		b.WithPanel(figure(p))
	}
}

func hostLoad(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Processors and memory"))
	for _, p := range []panel{
		{title: "Processors by mode", unit: units.PercentUnit, stacked: true, queries: []query{{of("wacht_cpu_mode_ratio"), "{{mode}}"}}},
		{title: "Load", queries: []query{
			{of("wacht_cpu_load1"), "1 minute"},
			{of("wacht_cpu_load15"), "15 minutes"},
			{of("wacht_cpu_processors"), "processors"},
		}},
		{title: "Time lost to waiting", help: "Linux pressure stall information: part of the last minute", unit: units.PercentUnit, queries: []query{
			{of("wacht_cpu_pressure_some_ratio"), "processor"},
			{of("wacht_memory_pressure_some_ratio"), "memory, some task"},
			{of("wacht_memory_pressure_full_ratio"), "memory, all tasks"},
		}},
		{title: "Memory", unit: units.BytesIEC, queries: []query{
			{of("wacht_memory_used_bytes"), "used"},
			{of("wacht_memory_available_bytes"), "available"},
			{of("wacht_memory_total_bytes"), "all"},
			{of("wacht_memory_swap_used_bytes"), "swap used"},
		}},
		{title: "Swapping", unit: units.BytesPerSecondIEC, queries: []query{
			{per("wacht_memory_swap_in_bytes_total"), "in"},
			{per("wacht_memory_swap_out_bytes_total"), "out"},
		}},
		{title: "Killed for want of memory", queries: []query{{"increase(" + of("wacht_memory_oom_kills_total") + "[1h])", "processes in an hour"}}},
	} {
		b.WithPanel(graph(p))
	}
}

// A trend needs some history to be worth a look: these queries take it over two days,
// as the disk check's own forecast does at least.
func hostDisks(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Disks"))
	free := of("wacht_disk_free_bytes")
	for _, p := range []panel{
		{title: "Space in use", unit: units.PercentUnit, top: at(1), queries: []query{{"1 - " + of("wacht_disk_free_ratio"), "{{item}}"}}},
		{title: "Free space", unit: units.BytesIEC, queries: []query{{free, "{{item}}"}}},
		{title: "Free space in 30 days, by the trend of 2 days", unit: units.BytesIEC, queries: []query{
			{"clamp_min(predict_linear(" + free + "[2d], 30 * 86400), 0)", "{{item}}"},
		}},
	} {
		b.WithPanel(graph(p))
	}
	b.WithPanel(list(panel{title: "Full in, by the trend of 2 days", unit: units.DurationSeconds, width: 8, queries: []query{
		{expr: free + " / -(deriv(" + free + "[2d]) < 0)"},
	}}))
	for _, p := range []panel{
		{title: "Inodes in use", unit: units.PercentUnit, top: at(1), queries: []query{{"1 - " + of("wacht_disk_inodes_free_ratio"), "{{item}}"}}},
		{title: "Busy", unit: units.PercentUnit, queries: []query{{of("wacht_diskio_utilisation_ratio"), "{{item}}"}}},
		{title: "Read and written", unit: units.BytesPerSecondIEC, width: 12, queries: []query{
			{per("wacht_diskio_read_bytes_total"), "{{item}} read"},
			{per("wacht_diskio_written_bytes_total"), "{{item}} written"},
		}},
		{title: "Wait for a request", unit: units.Seconds, width: 12, queries: []query{
			{of("wacht_diskio_read_await_seconds"), "{{item}} read"},
			{of("wacht_diskio_write_await_seconds"), "{{item}} write"},
		}},
	} {
		b.WithPanel(graph(p))
	}
}

func hostNetwork(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Network"))
	for _, p := range []panel{
		{title: "Round trip", unit: units.Seconds, queries: []query{{of("wacht_ping_rtt_avg_seconds"), "{{check}} {{item}}"}}},
		{title: "Packets lost", unit: units.PercentUnit, queries: []query{{of("wacht_ping_loss_ratio"), "{{check}} {{item}}"}}},
		{title: "Pages and ports, time to answer", unit: units.Seconds, queries: []query{
			{of("wacht_http_duration_seconds"), "{{check}}"},
			{of("wacht_tcp_duration_seconds"), "{{check}} {{item}}"},
		}},
	} {
		b.WithPanel(graph(p))
	}
	b.WithPanel(list(panel{title: "Certificates expire in", unit: units.DurationSeconds, width: 24, queries: []query{
		{expr: "sort(" + of("wacht_certificate_remaining_seconds") + ")"},
	}}))
}

func hostContainers(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Containers"))
	b.WithPanel(list(panel{title: "Containers that should run and do not, or are unhealthy", width: 8, queries: []query{
		{expr: of("wacht_containers_expected") + " == 1 and " + of("wacht_containers_running") + " == 0 or " + of("wacht_containers_healthy") + " == 0"},
	}}))
	for _, p := range []panel{
		{title: "Containers", queries: []query{
			{of("wacht_containers_containers_running"), "{{check}} running"},
			{of("wacht_containers_containers"), "{{check}} all"},
		}},
		{title: "Restarts of containers in an hour", queries: []query{{"increase(" + of("wacht_containers_restarts_total") + "[1h]) > 0", "{{item}}"}}},
		{title: "Age of images", unit: units.DurationSeconds, width: 12, queries: []query{{"topk(20, " + of("wacht_containers_image_age_seconds") + ")", "{{item}}"}}},
		{title: "Volumes", unit: units.BytesIEC, width: 12, queries: []query{
			{of("wacht_containers_volume_size_bytes"), "{{volume}}"},
			{of("wacht_containers_volumes_unused_bytes"), "of no container"},
		}},
	} {
		b.WithPanel(graph(p))
	}
}

func hostRest(b *dashboard.DashboardBuilder) {
	b.WithRow(row("Services, drives and the agent"))
	b.WithPanel(list(panel{title: "Services that should run and do not", width: 8, queries: []query{
		{expr: of("wacht_service_expected") + " == 1 and " + of("wacht_service_active") + " == 0"},
	}}))
	for _, p := range []panel{
		{title: "Restarts of services in an hour", queries: []query{{"max_over_time(" + of("wacht_service_restarts") + "[1h]) - min_over_time(" + of("wacht_service_restarts") + "[1h]) > 0", "{{item}}"}}},
		{title: "Drives: life used", unit: units.PercentUnit, queries: []query{{of("wacht_smart_life_used_ratio"), "{{item}}"}}},
		{title: "Drives: temperature", unit: units.Celsius, queries: []query{{of("wacht_smart_temperature_celsius"), "{{item}}"}}},
		{title: "Agent: memory", unit: units.BytesIEC, queries: []query{{of("wacht_agent_resident_bytes"), "resident"}}},
		{title: "Agent: processor", unit: units.PercentUnit, queries: []query{{per("wacht_agent_cpu_seconds_total"), "of one processor"}}},
		{title: "Agent: runs that wait to be sent", queries: []query{{of("wacht_agent_spool_runs"), "runs"}}},
		{title: "Agent: runs dropped in an hour", queries: []query{{"increase(" + of("wacht_agent_dropped_runs_total") + "[1h])", "runs"}}},
		{title: "Agent: clock ahead of the collector's", unit: units.Seconds, queries: []query{{"abs(" + of("wacht_agent_clock_skew_seconds") + ")", "seconds"}}},
	} {
		b.WithPanel(graph(p))
	}
}
