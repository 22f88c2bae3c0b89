// Package e2e shows what is promised on the real programs: agents and a collector in
// processes of their own, on real filesystems and ports, killed and starved of space.
// Figures are logged with their units: go test -v ./packaging/e2e.
package e2e
