# Every target is a thin name for a CMake workflow (CMakePresets.json) or a script of tools/; CI runs `make test`.
# All of them set up what they need first: system packages, .venv, torch. Where nothing is missing that takes a moment.
.DEFAULT_GOAL := build
.PHONY: help build demo test bench sweep fuzz format tidy clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

build: ## build/release/bin/vramwise and vramwise-train
	@tools/bootstrap
	cmake --workflow --preset release

demo: build ## a memory plan, a training run that learns, two steps of a larger model with its own plan
	@tools/demo

test: ## everything that is checked: both builds, all tests, style; the last line counts them
	@tools/bootstrap --test
	@tools/run_tests

bench: ## build and run the benchmarks of bench/
	@tools/bootstrap --test
	cmake --workflow --preset bench
	@tools/run_bench

sweep: build ## every model size on every memory size and card; 500 estimates against dry runs; dry runs of what users start; 100,000 allocator calls a setting
	@tools/sweep
	@tools/bootstrap --test
	cmake --preset dev
	cmake --build --preset dev
	@tools/sweep_allocator
	@VRAMWISE_BIN=build/dev/bin/vramwise bench/accuracy/run
	@tests/dryrun/tryouts/repeat
	@VRAMWISE_BIN=build/dev/bin/vramwise $$(sed -n 's/^python=//p' build/environment) -m pytest -q -m sweep tests
	@tests/dryrun/tryouts/run $(if $(TRYOUTS_PYTHON),--python $(TRYOUTS_PYTHON))
	@$(if $(FIDELITY),tests/fidelity/run --environments $(FIDELITY) $(if $(CHECKOUTS),--checkouts $(CHECKOUTS)),\
	  echo "FIDELITY=FOLDER make sweep repeats published runs too, in environments that it makes there (tests/fidelity/run)")

fuzz: ## feed damaged and made-up files to every reader for a minute each (tools/fuzz --seconds N)
	@tools/bootstrap --test
	cmake --workflow --preset fuzz
	@tools/fuzz

format: ## format C++, Python and CMake's neighbours in place
	@tools/bootstrap --test
	@tools/format

tidy: ## tools/tidy, then clang-tidy on everything that changed since it was last clean
	@tools/bootstrap --test --lint
	@tools/tidy
	cmake --workflow --preset tidy
	@tools/clang_tidy build/tidy

clean: ## remove build/; .venv and the data stay
	rm -rf build
