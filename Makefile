# A thin face over CMake: everything it does can be typed by hand (docs/building.md).
BUILD ?= build
JOBS ?= $(shell nproc)
CMAKE_FLAGS ?=

.PHONY: all setup demo test bench format tidy asan fuzz fault-run test-slurm install train-quickstart quickstart-reference clean

all: $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

setup:
	@scripts/setup.sh

# Configured once; CMake itself notices later changes of its files.
$(BUILD)/build.ninja: scripts/setup.sh scripts/packages.txt
	@scripts/setup.sh
	@cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS)
	@touch $@

demo: all
	@scripts/demo.sh $(BUILD)

test: all
	@scripts/test.sh $(BUILD) $(JOBS)

bench: all
	@$(BUILD)/bin/squant-bench quantize && $(BUILD)/bin/squant-bench evaluate && \
	  $(BUILD)/bin/squant-bench sweep experiments/quickstart.json

# Random kills, stops and full disks over many small sweeps: FAULTS=1000 SEED=7.
fault-run: all
	@tests/runner/fault/fault_run.py $(BUILD) "$$(command -v mpirun)" --faults $(or $(FAULTS),200) $(if $(SEED),--seed $(SEED))

# The quickstart through a slurmctld and slurmd of its own.
test-slurm: all
	@tests/runner/cluster/slurm_test.sh $(BUILD)

format:
	@git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs clang-format -i

tidy: all
	@git ls-files '*.cc' | grep -v '^tests/' | xargs -P $(JOBS) -n 1 clang-tidy -p $(BUILD) --quiet

# The CPU code that reads files, keeps results and schedules, under AddressSanitizer and UndefinedBehaviorSanitizer.
asan:
	@$(MAKE) test BUILD=build-asan CMAKE_FLAGS="-DCMAKE_BUILD_TYPE=RelWithDebInfo -DSQUANT_CUDA=OFF -DSQUANT_BENCH=OFF -DSQUANT_SANITIZE=address,undefined $(CMAKE_FLAGS)"

fuzz:
	@scripts/fuzz.sh

install: all
	@cmake --install $(BUILD)

train-quickstart: all
	@$(BUILD)/bin/train-quickstart

quickstart-reference: all
	@scripts/quickstart-reference.sh $(BUILD)

clean:
	@rm -rf $(BUILD)
