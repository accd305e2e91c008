# `make` lists the targets. Tests that load programs into the kernel run as root, in network namespaces of their own.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

# Go is often in /usr/local/go/bin and, under sudo, not in PATH.
export PATH := $(PATH):/usr/local/go/bin
GO := go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Git refuses a checkout of another user, and go build with it; the version is stamped by -ldflags instead.
export GOFLAGS += -buildvcs=false

ROOT := $(filter 0,$(shell id -u))
# Test binaries are built by the user and run by root, so that no file in the build cache becomes root's.
EXEC := $(if $(ROOT),,-exec "sudo env PATH=$(PATH)")
SUDO := $(if $(ROOT),,sudo)

PREFIX ?= /usr/local
PKG ?= ./...
# Tests that may be skipped, as a regular expression; if set, any other skip is a failure.
SKIPS ?=
FUZZTIME ?= 10m
PACKETS ?= 10000000
RULESETS ?= 200
STEPS ?= 1000000
MUTANTS_OF_RULES ?= 1
BULK ?= 64
FRAMES ?= 20000000
MUTANTS ?= 0
SEQUENCES ?= 200000
SWAPS ?= 2000
FLOOD ?= 600000
FLOODFOR ?= 60s
FLOODLEAST ?= 75000
KILLS ?= 500
KERNELS ?= 5.10 6.1 6.12 new
JOBS ?= job
CORPUS ?=
CLASSBENCH ?=

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup: ## install the Debian packages that test, demo and bench use
	@.ci/setup test

.PHONY: generate
generate: ## rebuild the generated files (bpf/*.o and their Go bindings; needs clang-19)
	@.ci/setup generate
	$(GO) generate ./...

.PHONY: build
build: ## build/bpfwall
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o build/bpfwall ./cmd/bpfwall

.PHONY: install
install: build ## into PREFIX (/usr/local), with the systemd unit and the udev rule; load nothing yet
	install -D -m 755 build/bpfwall $(DESTDIR)$(PREFIX)/sbin/bpfwall
	mkdir -p $(DESTDIR)/etc/systemd/system $(DESTDIR)/etc/udev/rules.d $(DESTDIR)/etc/bpfwall
	sed 's|/usr/local|$(PREFIX)|' dist/bpfwall-boot.service > $(DESTDIR)/etc/systemd/system/bpfwall-boot.service
	sed 's|/usr/local|$(PREFIX)|' dist/90-bpfwall.rules > $(DESTDIR)/etc/udev/rules.d/90-bpfwall.rules
	@echo "to start it at boot: systemctl enable bpfwall-boot"

.PHONY: check
check: ## formatting, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [[ -z $$unformatted ]] || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: test
test: setup ## every test, as root; PKG=./ruleset for one package
	$(GO) test -json -timeout 30m $(EXEC) $(PKG) | $(GO) run ./internal/testsum $(if $(SKIPS),-no-skips -may-skip "$(SKIPS)")

.PHONY: unit
unit: ## the tests that need no root; the others say that they were skipped
	$(GO) test $(PKG)

.PHONY: demo
demo: setup build ## a firewall in two network namespaces: import, apply, traffic, a swap under load, clean-up
	$(GO) build -o build/demo ./demo
	$(SUDO) env BPFWALL=build/bpfwall build/demo

.PHONY: bench
bench: setup build ## cost of packets and of changes, beside iptables, nft and ipset, into docs/benchmarks; BENCH for flags
	@.ci/setup bench
	$(GO) build -o build/bench ./test/bench
	$(SUDO) env BPFWALL=build/bpfwall build/bench -v -o docs/benchmarks $(BENCH)

.PHONY: bench-quick
bench-quick: setup build ## less of everything, in a minute; fails if bpfwall is far from where it should be beside the others
	@.ci/setup bench
	$(GO) build -o build/bench ./test/bench
	$(SUDO) env BPFWALL=build/bpfwall build/bench -v -quick

.PHONY: bench-parts
bench-parts: setup ## Go benchmarks of single parts: parsing, tracking, lookups, import
	$(GO) test $(EXEC) -run '^$$' -bench . -benchtime 2s ./bpf ./translator ./migrate/iptables ./input

# Before Go 1.27, go test now and then takes the end of the time for a failure, without an input that fails (go.dev/issue/75804): then once more.
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	@mkdir -p build; for dir in $$(grep -lrE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -hoE '^func Fuzz\w+' $$dir/*_test.go | cut -c6- | sort -u); do \
			echo "$$dir $$target"; \
			for try in 1 2 3; do \
				$(GO) test $(EXEC) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$dir 2>&1 | tee build/fuzz.log && break; \
				[[ $$try -lt 3 ]] && grep -q 'context deadline exceeded' build/fuzz.log && ! grep -q 'Failing input' build/fuzz.log || exit 1; \
			done; \
		done; done

# The sizes of diff; those of diff-long are above. What is given on the command line goes for either.
diff: PACKETS = 1000000
diff: RULESETS = 40
diff: STEPS = 100000
diff: SEQUENCES = 20000
diff: FRAMES = 2000000
diff: SWAPS = 100
diff: KILLS = 30
diff: MUTANTS_OF_RULES = 4
diff: BULK = 8

.PHONY: diff
diff: comparisons ## everything that is compared with the kernel's firewall or with Go, and what nothing may disturb: a tenth of diff-long
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run 'TestSwapUnderLoad|TestKilledApply|Flood' ./test/netns -swaps $(SWAPS) -kills $(KILLS)

.PHONY: diff-long
diff-long: comparisons soak ## PACKETS packets through RULESETS random rulesets without state, STEPS packets of flows and through each engine, SEQUENCES sequences of states, FRAMES damaged frames, floods, SWAPS swaps, KILLS kills, BULK MB each way

.PHONY: comparisons
comparisons: setup
	$(GO) test $(EXEC) -count=1 -timeout 0 -v ./test/stateless -packets $(PACKETS) -rulesets $(RULESETS)
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run TestStateful ./test/conntrack -sequences $(SEQUENCES) -waiting $$(($(SEQUENCES) / 10))
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run 'TestSameAsIptables|TestRig|TestRandomRules|TestCasesInKernel|TestOddFrames|TestFragments' ./test/netns \
		-packets $(STEPS) -mutants $(MUTANTS_OF_RULES) -rulesets $(RULESETS)
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run TestRandom ./translator -long
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run TestEnginesAgree ./translator -long -packets $(STEPS)
	$(GO) test $(EXEC) -count=1 -timeout 0 -v ./test/volume -frames $(FRAMES) -each 40000
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run 'TestBulk|TestPathMTU' ./test/netns -bulk $(BULK)

.PHONY: classes
classes: setup ## every engine that finds the first of many rules beside Go, STEPS packets a ruleset, on filter sets too: CLASSBENCH for their folder
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run 'TestEnginesAgree|TestAdversarial|TestShapes|TestRefused' ./translator -long -packets $(STEPS)
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run 'Test(Random|Vectors|.*Mutations)' ./translator/classify -long
	@[ -z "$(CLASSBENCH)" ] || $(GO) test $(EXEC) -count=1 -timeout 0 -v -run TestClassBench ./translator ./translator/classify -long -sets '*' -classbench $(abspath $(CLASSBENCH))

.PHONY: mutate
mutate: setup ## change the C one constant or comparison at a time and list what no test notices; MUTANTS=100 for a sample
	@.ci/setup generate
	$(GO) build -o build/mutate ./test/mutate
	$(SUDO) env PATH="$(PATH)" GOFLAGS="$(GOFLAGS)" build/mutate -sample $(MUTANTS)

.PHONY: soak
soak: setup ## SWAPS swaps under traffic, KILLS kills of an apply, connections in floods of FLOOD packets and more, for FLOODFOR each, at FLOODLEAST a second or more
	$(GO) test $(EXEC) -count=1 -timeout 0 -v -run 'TestSwapUnderLoad|TestKilledApply|Flood' ./test/netns -swaps $(SWAPS) -kills $(KILLS) \
		-flood $(FLOOD) -flood-for $(FLOODFOR) -flood-least $(FLOODLEAST)

.PHONY: kernels
kernels: ## tests on Debian's other kernels, in virtual machines; KERNELS="5.10 6.1 6.12 new" JOBS=job,bpf,dataplane,netns,demo
	@.ci/setup kernels
	$(GO) run ./test/kernels $(if $(JOBS),-jobs $(JOBS)) $(KERNELS)

.PHONY: corpus
corpus: ## import every ruleset below the folder CORPUS, write it as a policy, and say how much was lost
	@[ -n "$(CORPUS)" ] || { echo "CORPUS: name a folder with dev/iptables, dev/ip6tables and conformance"; exit 1; }
	$(GO) test -count=1 -run TestCorpus -v ./migrate/iptables -corpus $(abspath $(CORPUS))/dev | grep -E '^ok|FAIL|DISAGREES|files:'
	$(GO) test -count=1 -run TestCorpus -v ./policies -corpus $(abspath $(CORPUS))/dev | grep -E '^ok|FAIL|files,'
	@# Some of the real tool's refusals come from the kernel that the lines were tried on, so that this one only informs.
	-$(GO) test -count=1 -run TestConformance -v ./migrate/iptables -conformance $(abspath $(CORPUS))/conformance/iptables_t.tsv | grep 'map\['
