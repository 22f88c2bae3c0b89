package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// query is one PromQL expression and what its series are called.
type query struct{ expr, legend string }

// panel is what the panels below have in common.
type panel struct {
	title, help string
	unit        string
	queries     []query
	// width of the dashboard's 24 columns; 0 is a third for graphs, an eighth for figures.
	width uint32
	// top is the end of the scale where there is one, such as 1 for a ratio.
	top *float64
	// bad is from where a figure is red; nil never.
	bad *float64
	// stacked graphs add their series up.
	stacked bool
}

func at(v float64) *float64 { return &v }

const source = "datasource"

func sourceRef() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${" + source + "}")}
}

// start begins a dashboard whose data come from a data source that the reader can
// change; uid is the one that the provisioning files give it at first.
func start(uid, title, help, sourceName, sourceUID string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).
		Uid(uid).Description(help).Tags([]string{"wacht"}).
		Timezone(common.TimeZoneBrowser).Time("now-6h", "now").Refresh("1m").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).Readonly().
		Link(dashboard.NewDashboardLinkBuilder("Wacht").Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{"wacht"}).IncludeVars(true).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder(source).Label("Data source").Type("prometheus").
			Current(option(sourceName, sourceUID)))
}

func option(text, value string) dashboard.VariableOption {
	return dashboard.VariableOption{
		Selected: cog.ToPtr(true),
		Text:     dashboard.StringOrArrayOfString{String: &text},
		Value:    dashboard.StringOrArrayOfString{String: &value},
	}
}

// choice is a variable whose values are those of a label.
func choice(name, label, of string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(sourceRef()).
		Query(dashboard.StringOrMap{String: &of}).Definition(of).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
}

// several lets a choice be of more than one, at first of all.
func several(v *dashboard.QueryVariableBuilder) *dashboard.QueryVariableBuilder {
	return v.Multi(true).IncludeAll(true).AllValue(".*").Current(option("All", "$__all"))
}

// figure shows the newest value alone.
func figure(p panel) *stat.PanelBuilder {
	b := stat.NewPanelBuilder().Title(p.title).Description(p.help).Datasource(sourceRef()).
		Unit(p.unit).Height(4).Span(or(p.width, 3)).NoValue("–").
		GraphMode(common.BigValueGraphModeArea).ColorMode(common.BigValueColorModeValue).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(thresholds(p.bad)).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds))
	for _, q := range p.queries {
		b.WithTarget(ranged(q))
	}
	return b
}

// label shows a label of the newest series as the figure.
func label(p panel) *stat.PanelBuilder {
	return figure(p).TextMode(common.BigValueTextModeName).GraphMode(common.BigValueGraphModeNone)
}

// graph shows series over time.
func graph(p panel) *timeseries.PanelBuilder {
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.help).Datasource(sourceRef()).
		Unit(p.unit).Height(8).Span(or(p.width, 8)).Min(0).
		LineWidth(1).FillOpacity(8).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.top != nil {
		b.Max(*p.top)
	}
	if p.stacked {
		b.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	for _, q := range p.queries {
		b.WithTarget(ranged(q))
	}
	return b
}

// list shows the newest values with their labels as a table. Labels that say nothing
// to a person are hidden.
func list(p panel) *table.PanelBuilder {
	b := table.NewPanelBuilder().Title(p.title).Description(p.help).Datasource(sourceRef()).
		Unit(p.unit).Height(8).Span(or(p.width, 12)).NoValue("None").
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true, "__name__": true, "job": true, "instance": true},
		}})
	for _, q := range p.queries {
		b.WithTarget(prometheus.NewDataqueryBuilder().Datasource(sourceRef()).Expr(q.expr).Instant().Format(prometheus.PromQueryFormatTable))
	}
	return b
}

func ranged(q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(sourceRef()).Expr(q.expr).LegendFormat(q.legend).Range()
}

func thresholds(bad *float64) *dashboard.ThresholdsConfigBuilder {
	steps := []dashboard.Threshold{{Color: "green"}}
	if bad != nil {
		steps = append(steps, dashboard.Threshold{Value: bad, Color: "red"})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func or(given, otherwise uint32) uint32 {
	if given == 0 {
		return otherwise
	}
	return given
}

func row(title string) *dashboard.RowBuilder { return dashboard.NewRowBuilder(title) }
