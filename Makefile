# Everything is reached through these targets; `make demo` and `make test` set up all they need on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build/native
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SOURCES := $(shell find cpp python -name '*.cpp' -o -name '*.h' -o -name '*.inl' -o -name '*.def' -o -name '*.py' -o -name '*.onnx') \
           CMakeLists.txt pyproject.toml

.PHONY: demo test bench bench-save bench-compare compare quantizers lint format dev native test-native test-python clean

demo: $(VENV)/installed          ## install octavo and classify 1,000 images with the embedded network
	$(BIN)/octavo demo

test: test-native test-python    ## the whole suite

test-python: $(VENV)/test-tools
	OCTAVO_EXPECT_ISA=$$($(BIN)/python -c 'from octavo import _core; print(_core.best_isa())') $(BIN)/python -m pytest -q

test-native: native              ## the C++ programs, without Python
	cd $(BUILD) && $(abspath $(BIN))/ctest --output-on-failure

native: $(VENV)/build-tools      ## the library, octavo-run, octavo-selftest, octavo-bench
	$(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -S . -B $(BUILD) -DOCTAVO_WERROR=ON
	$(BIN)/cmake --build $(BUILD) -j $(JOBS)

BENCH := $(BIN)/python -m pytest bench -q --benchmark-enable --benchmark-storage=file://./.benchmarks --benchmark-columns=min,median,iqr,rounds
NAME ?= baseline
FAIL ?= median:10%

bench: native $(VENV)/bench-tools ## kernels and whole models
	$(BUILD)/octavo-bench
	$(BENCH)

bench-save: $(VENV)/bench-tools  ## keep the suites' figures as .benchmarks/*_$(NAME).json
	$(BENCH) --benchmark-save=$(NAME)

bench-compare: $(VENV)/bench-tools ## run the suites against the newest baseline; fails where FAIL says
	$(BENCH) --benchmark-compare --benchmark-compare-fail=$(FAIL)

compare: native $(VENV)/bench-tools ## octavo and its peers: bench/RESULTS.md, .json, .txt, .png
	$(BIN)/python bench/compare.py $(MODELS) --out bench/RESULTS

quantizers: $(VENV)/bench-tools  ## octavo.quantize and its peers: bench/QUANTIZERS.md, .json
	$(BIN)/python bench/quantizers.py $(MODELS) --out bench/QUANTIZERS $(if $(NNCF),--nncf-python $(NNCF))

lint: $(VENV)/test-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files '*.cpp' '*.h' '*.inl' | xargs $(BIN)/clang-format --dry-run -Werror

format: $(VENV)/test-tools
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .
	git ls-files '*.cpp' '*.h' '*.inl' | xargs $(BIN)/clang-format -i

dev: $(VENV)/test-tools          ## an editable install: Python changes need no rebuild
	$(BIN)/pip install -q scikit-build-core pybind11
	$(BIN)/pip install --no-build-isolation -q -e . --config-settings=build-dir=build/dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install -q .
	@touch $@

$(VENV)/build-tools: $(VENV)/bin/python
	$(BIN)/pip install -q cmake ninja
	@touch $@

# One install builds the wheel once: it serves `demo` too.
$(VENV)/test-tools: $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install -q '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/bench-tools: $(VENV)/installed
	$(BIN)/pip install -q '.[bench]'
	@touch $@

clean:
	rm -rf build $(VENV)
