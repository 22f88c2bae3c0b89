SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# How long each long-seed property of make soak runs.
SOAK ?= 10m

tool := go tool -modfile=packaging/tools/go.mod
buf_config := --config packaging/tools/buf.yaml
web := collector/internal/web
vendor := $(web)/static/vendor
platforms := linux/amd64 linux/arm64 windows/amd64 darwin/arm64
# git describe names the version, so Go need not stamp one.
# Without gRPC's trace pages the agent is a sixth smaller, on disk and in memory.
shipped := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags=grpcnotrace

.PHONY: help
help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: assets ## Build bin/wacht-agent, bin/wacht-smart-helper and bin/wacht-collector
	$(shipped) -ldflags='-X main.version=$(VERSION)' -o bin/ ./agent/cmd/... ./collector/cmd/wacht-collector ./plugins/cmd/...

.PHONY: run
run: build bin/receiver ## Build, then run a collector and an agent of this machine; Ctrl-C ends both
	@exec packaging/dev/run

.PHONY: bin/receiver
bin/receiver:
	go build -o $@ ./packaging/dev/receiver

.PHONY: test
test: setup assets ## Run every test with the race detector; with CI=true a skipped test fails
	$(tool) gotestsum --format=pkgname-and-test-fails --format-hide-empty-pkg --post-run-command=packaging/dev/no-skips \
		-- -race -count=1 -timeout=20m ./...

.PHONY: lint
lint: lint-layout lint-proto lint-generated lint-go lint-vet lint-fix lint-build lint-vuln ## Check style, import layers, generated code, vulnerabilities and cross-builds

.PHONY: generate
generate: ## Write the generated code again: protobuf, then go generate
	$(tool) buf generate $(buf_config) --template packaging/tools/buf.gen.yaml
	go generate ./...

.PHONY: format
format: ## Format the Go code and sort its imports
	$(tool) golangci-lint fmt

.PHONY: bench
bench: ## Run the benchmarks one package after the other
	go test -run='^$$' -bench=. -benchmem -count=1 -timeout=60m -p=1 ./...

.PHONY: soak
soak: setup ## Run the tests with long seeds: SOAK=10m for each long property
	WACHT_SOAK=$(SOAK) go test -count=1 -timeout=0 -p=1 ./...

.PHONY: packages
packages: assets ## Build the packages into dist/, with SBOMs and checksums
	rm -rf dist
	VERSION='$(VERSION)' packaging/linux/build dist
	VERSION='$(VERSION)' packaging/windows/build dist
	cd dist && LC_ALL=C sha256sum -- * >.sums && mv .sums SHA256SUMS

.PHONY: packages-windows
packages-windows: ## Build the agent for Windows and its installer into dist/
	VERSION='$(VERSION)' packaging/windows/build dist

.PHONY: clean
clean: ## Remove what was built and fetched; the state of make run in .wacht stays
	rm -rf bin dist $(vendor) $(web)/node_modules

# What the targets above are made of.

.PHONY: setup
setup:
	@packaging/dev/setup

.PHONY: assets
assets: $(vendor)/htmx.min.js

$(vendor)/htmx.min.js: $(web)/package.json $(web)/package-lock.json
	@command -v npm >/dev/null || { echo "make: npm is missing; install Node.js and npm (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	npm --prefix $(web) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	rm -rf $(vendor)
	mkdir -p $(vendor)
	cp $(web)/node_modules/uplot/dist/uPlot.iife.min.js $(web)/node_modules/uplot/dist/uPlot.min.css $(vendor)/
	cp $(web)/node_modules/uplot/LICENSE $(vendor)/uPlot.LICENSE
	cp $(web)/node_modules/htmx.org/dist/htmx.min.js $@

.PHONY: lint-layout lint-proto lint-generated lint-go lint-vet lint-fix lint-build lint-vuln
lint-layout:
	@packaging/dev/check-layout

lint-proto:
	$(tool) buf lint $(buf_config)

lint-generated:
	@packaging/dev/check-generated

lint-go:
	$(tool) golangci-lint run

lint-vet:
	go vet ./...

lint-fix:
	go fix -diff ./...

lint-build: $(addprefix lint-build/,$(platforms))

.PHONY: $(addprefix lint-build/,$(platforms))
$(addprefix lint-build/,$(platforms)): lint-build/%:
	GOOS=$(*D) GOARCH=$(*F) $(shipped) ./...

lint-vuln:
	@packaging/dev/check-vulnerabilities
