// Package bench measures a collector under agents: both sides as they are, over TLS on
// loopback, with the collector in a process of its own. Run it with make bench, or
// one part of it with
//
//	go test -run='^$' -bench=Collector/perMessage=10 ./packaging/bench
//
// With WACHT_BENCH_PROFILE=DIR profiles of both processes are written to a folder.
package bench
