# Everything that people and CI run. "make" builds; "make demo" shows.
SHELL := /bin/bash
BIN   := bin/kontor
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kontor
TOOL  := go tool -modfile=tools/go.mod
LINT  := $(CACHE)/bin/golangci-lint-v2.15.0
IMAGE := $(or $(KONTOR_IMAGE),$(CACHE)/image/kontor-tiny.qcow2)

.PHONY: build demo test race check lint bench budgets micro fuzz lab golden clean image qemu crucible

build: ## the binary, static
	CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/kontor

demo: build qemu image ## a real machine, bought by rule at one of seven providers
	$(BIN) demo --image $(IMAGE) $(if $(ONCE),--once)

qemu: ## QEMU from the distribution, when missing
	@hack/install qemu

image: ## the tiny guest, when missing; KONTOR_IMAGE=file.qcow2 takes yours
	@$(if $(KONTOR_IMAGE),test -r $(KONTOR_IMAGE),image/build)

test: ## everything that needs no more than ten minutes; skips say why
	hack/test go test -count=1 -timeout 20m ./...

race: ## the same under the race detector, without real machines
	KONTOR_TEST_QEMU=off hack/test go test -race -count=1 -timeout 30m ./...

check: lint ## vet, staticcheck, golangci-lint, gofumpt, import arrows, known vulnerabilities
	go vet ./...
	$(TOOL) staticcheck ./...
	@out=$$($(TOOL) gofumpt -l .); test -z "$$out" || { echo "run gofumpt on:"; echo "$$out"; exit 1; }
	go test -run TestImportArrows .
	hack/vuln

lint: $(LINT)
	$(LINT) run ./...

$(LINT): tools/lint.mod
	mkdir -p $(@D)
	cd tools && GOFLAGS=-mod=mod go build -modfile=lint.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bench: budgets micro ## what operations cost and may cost, then benchmarks

budgets: ## CPU per operation of all processes, beside what it may be and a request that does nothing; PostgreSQL with fsync
	KONTOR_POSTGRES_FSYNC=on KONTOR_BUDGETS=1 hack/test go test -count=1 -timeout 15m -run '^TestLabBudgets$$' ./cmd/kontor -v | grep -v '^[=]\|^ *---'

micro: ## benchmarks, ten runs, compared with bench/baseline.txt
	mkdir -p bench
	hack/test go test -run '^$$' -bench . -benchmem -count $(or $(COUNT),10) ./money ./policy ./offer ./placement ./db ./resource ./api ./agent ./driver/... ./cmd/kontor | tee bench/latest.txt
	$(TOOL) benchstat $(wildcard bench/baseline.txt) bench/latest.txt

fuzz: ## every fuzzer for FUZZTIME (default 1m)
	hack/test hack/fuzz $(or $(FUZZTIME),1m)

crucible: ## deaths at every named moment, faults, missing safeguards, on both databases (10 minutes)
	KONTOR_CRUCIBLE=1 hack/test go test -count=1 -timeout 30m -v -run '^TestCrucible|^TestTrials|^TestMutations' ./crash

lab: qemu image ## slow runs against real counterparts, also an OpenStack; skips say why (RUN, PACKAGES: some of them)
	KONTOR_LAB=1 hack/lab hack/test go test -count=1 -p 1 -timeout 120m -v -run '$(or $(RUN),Lab)' $(or $(PACKAGES),./...)

release: ## binaries, Debian packages, an OCI image, a Helm chart and an SBOM of this commit, in dist
	hack/release

golden: ## rewrite golden files
	hack/test go test ./db ./driver/qemu -update

clean:
	rm -rf bin dist bench/latest.txt
