// Package prometheus holds an example configuration of Prometheus for Wacht, alert and
// recording rules, and their unit tests, which promtool runs.
package prometheus
