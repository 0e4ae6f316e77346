# Foreshock. `make run` starts the agent, `make test` tests everything.
GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod

.PHONY: help run build test score lint check bench bench-detect bench-drain lab-traefik generate install clean

help: ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Build and start the agent on this machine, with no configuration.
	bin/foreshock agent

build: ## Build into bin/.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/foreshock ./cmd/foreshock

test: ## Vet, tests, labs. Installs missing Debian packages when root, and says what it skipped and why.
	@tools/test.sh

score: ## Hold the labelled recordings of testdata/episodes against their golden score; part of `make test`.
	$(GO) run ./cmd/foreshock score testdata/episodes --golden testdata/episodes/score.golden

lint: ## golangci-lint.
	$(TOOL) golangci-lint run ./...

check: lint test ## Lint and test.

generate: ## Write the configuration's reference and schema in docs anew; `make test` holds them to the program.
	$(GO) test ./cmd/foreshock -run TestPrintedDocs -update

bench: ## Cost of looking, beside its peers, on populations of known size; see docs/BENCHMARKS.md.
	@tools/bench.sh cost

bench-detect: ## When a real server or a backend fails: who says so first; see docs/BENCHMARKS.md.
	@tools/bench.sh detect

bench-drain: ## After a switch of addresses: what agents, dig and probes say of real clients; see docs/BENCHMARKS.md.
	@tools/bench.sh drain

lab-traefik: ## Build the Traefik that the labs run, once: five minutes, outside of the tree.
	@tools/lab-traefik.sh

install: build ## Install the program and its service unit under PREFIX (/usr/local).
	@tools/install.sh '$(DESTDIR)' '$(PREFIX)'

clean: ## Remove what was built.
	rm -rf bin
