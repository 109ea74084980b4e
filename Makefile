# Every target makes the environment it needs, once. PYTHON=... chooses the interpreter.

# Some minutes: learning starts early, exploration ends within the run.
RUN_FLAGS ?= --game=Pong --agent=double_dqn --interventions=ln,wd --num_frames=120000 \
  --eval_every_frames=40000 --eval_frames=20000 \
  --probe_every_frames=60000 --checkpoint_every_frames=60000 \
  --set=replay_capacity=50000 --set=min_replay_size=2500 --set=exploration_decay_steps=20000
# One worker for each of two cores; each may come to need 4 GB. A file's tests share what they build.
TEST_WORKERS ?= 2
TEST_FLAGS ?=
pytest = -m pytest --numprocesses=$(TEST_WORKERS) --dist=loadfile

CANDIDATES := $(or $(PYTHON),python3.11 python3.12 python3.13 python3)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
INPUTS := setup.cfg pyproject.toml constraints-reverb.txt override-jax.txt make_venv.py
PEERS := .venv-bench/ready .venv-dopamine/ready
# An explicit PYTHON wants an environment that it made itself.
READY := .venv/ready$(if $(PYTHON),-by$(subst /,-,$(PYTHON)))

# A name on PATH may be a shim for an interpreter that is not there, so each is tried.
make_venv = @for python in $(CANDIDATES); do \
    if $$python -c '$(SUPPORTED)' 2>/dev/null; then exec $$python make_venv.py $(1); fi; \
  done; \
  echo 'no Python 3.11, 3.12 or 3.13 runs as: $(CANDIDATES). Install python3.11' \
    '(best: it has Reverb), or name one with PYTHON=/path/to/python' >&2; exit 1

.PHONY: help setup run test test-slow test-open lint bench bench-updates figures clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv: with Reverb on CPython 3.11, Linux x86-64, else without
	@echo ".venv is ready (set up in $$(cat .venv/setup-seconds) s)."

run: $(READY)  ## train on Pong with LayerNorm and weight decay, then write the report (RUN_FLAGS=...)
	.venv/bin/python run_atari.py $(RUN_FLAGS)

test: $(READY)  ## run the tests (TEST_FLAGS=... for pytest)
	.venv/bin/python $(pytest) -m 'not slow' $(TEST_FLAGS)

test-slow: $(READY)  ## run the tests that take minutes, or tell once more what others do
	XLA_FLAGS= .venv/bin/python $(pytest) --dist=load -m 'slow or optimized' $(TEST_FLAGS)

test-open: .venv-open/ready  ## run the tests on the newest JAX and NumPy 2, without TensorFlow and Reverb
	.venv-open/bin/python $(pytest) -m 'not slow and not reverb' $(TEST_FLAGS)

lint: $(READY)  ## check the style
	.venv/bin/ruff check .

bench: $(READY) $(PEERS)  ## measure speeds, and peers' DQN beside ours
	.venv/bin/python -m benchmarks.bench

bench-updates: $(READY) $(PEERS)  ## measure updates alone beside those of peers
	.venv/bin/python -m benchmarks.updates runs

figures: $(READY)  ## run the supervised experiments that compare ways, small, into results/supervised
	.venv/bin/python -m benchmarks.figures results/supervised

clean:  ## remove the environments and caches; runs stay
	rm -rf .venv .venv-open $(dir $(PEERS)) *.egg-info build .pytest_cache .ruff_cache .hypothesis

$(READY): $(INPUTS)
	$(call make_venv,.venv)
	@touch $@

.venv-open/ready: $(INPUTS)
	$(call make_venv,.venv-open --set=open)

$(PEERS): .venv-%/ready: $(INPUTS)
	$(call make_venv,.venv-$* --set=$*)
