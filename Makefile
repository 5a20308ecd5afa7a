# Every task of the repository. `make` alone lists them.
# ARGS are passed on to what a target runs: `make run ARGS="--listen 127.0.0.1:9000"`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run test cluster cluster-down engines engines-down kube kube-down kind-test images bench simulate fuzz hostile load scale chaos chaos-cluster fmt lint screenshots dashboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and serve a whole chat on http://127.0.0.1:8080 (ARGS="--help" tells the options)
	@scripts/check-host.sh
	cargo build --profile quick --locked --bin chat-server --bin folkmoot
	@exec $(TARGET_DIR)/quick/chat-server dev $(ARGS)

test: ## everything that CI checks (STEPS="fmt clippy" for some; scripts/test.sh --list names them)
	@scripts/check-host.sh
	@scripts/test.sh $(STEPS)

cluster: ## three Cassandra nodes, Pulsar, two gateways, api and auth behind HAProxy (docs/cluster.md)
	@scripts/check-host.sh
	@scripts/cluster.sh up $(ARGS)

cluster-down: ## stop all of that; the data stays
	@scripts/cluster.sh down $(ARGS)

engines: ## a real Cassandra node and Pulsar for tests that you run with plain cargo test
	@scripts/engines/cassandra.sh up
	@scripts/engines/pulsar.sh up

engines-down: ## stop them
	@scripts/engines/cassandra.sh down
	@scripts/engines/pulsar.sh down

kube: ## a real Kubernetes on this machine without a registry, as root on Linux (scripts/kube/cluster.sh)
	@scripts/kube/cluster.sh up $(ARGS)

kube-down: ## stop it and forget it
	@scripts/kube/cluster.sh down $(ARGS)

kind-test: ## the operator on kind with two workers, with real engines beside it (ARGS="upgrade" for one test)
	@scripts/check-host.sh
	@scripts/kind-tests.sh --kind $(ARGS)

images: ## the images of chat-server and of the operator, as archives (scripts/images.sh)
	@scripts/check-host.sh
	@scripts/images.sh --build $(ARGS)

bench: ## delivery cost, memory per socket, connect rate; durable sends and long logs on Cassandra; the operator
	@scripts/check-host.sh
	@scripts/bench.sh $(ARGS)

simulate: ## the autoscaler over a day of 75,000 and of 2,500,000 users: pods used and overload (docs/autoscaling.md)
	@scripts/check-host.sh
	cargo run --locked --quiet -p folkmoot-operator --example simulate -- docs/images

load: ## 2,000 sockets, 100 messages/s, 10 % churn a minute for 60 s: nothing lost, doubled or reordered
	@scripts/check-host.sh
	@scripts/load.sh $(ARGS)

scale: ## 75,000 sockets of 250,000 users over five gateways, a peak, a gateway killed; 12 GiB (ARGS="--help")
	@scripts/check-host.sh
	@scripts/scale.sh $(ARGS)

chaos: ## the load of a team while the parts of a cluster are killed and hang, one after another
	@scripts/check-host.sh
	@scripts/chaos.sh $(ARGS)

chaos-cluster: ## a chat on Kubernetes is scaled, replaced and killed under load, as root on Linux; about 45 minutes
	@scripts/check-host.sh
	@scripts/chaos-cluster.sh $(ARGS)

fuzz: ## every fuzz target for FUZZ_SECONDS (60) seconds; needs a nightly toolchain
	@scripts/check-host.sh
	@scripts/fuzz.sh $(ARGS)

hostile: ## what nobody well-meaning sends, then the same changed by chance for HOSTILE_SECONDS (600) seconds
	@scripts/check-host.sh
	FOLKMOOT_HOSTILE_SECONDS=$(or $(HOSTILE_SECONDS),600) cargo test --locked --workspace --test it hostile:: -- --nocapture

fmt: ## format all Rust code
	cargo fmt --all

lint: ## formatting and clippy, without the tests
	@scripts/test.sh fmt clippy

screenshots: ## take docs/images again from a running server in Chromium
	@scripts/check-host.sh
	@scripts/screenshots.sh

dashboard: ## draw docs/images/dashboard.png from a recording of chaos-cluster, with Grafana's panels (ARGS=DIR)
	@scripts/dashboard.sh $(ARGS)

clean: ## remove what was built here (the tool cache in ~/.cache/folkmoot stays)
	cargo clean
	rm -rf web-tests/node_modules scripts/dashboard/node_modules fuzz/target bench-results
