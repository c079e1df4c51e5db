# `make mini` or `make test` may be the first command on a fresh clone: Python 3.11 with pip is all they need.
PYTHON ?= python3.11
CORES ?= 2
VENVS := .venvs
# One thread a process: several share the machine, and tiny matrices lose by being split.
export OMP_NUM_THREADS = 1
export PYTHONPATH = $(CURDIR)
# Or every process would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE
MAKE_ENVIRONMENTS = $(PYTHON) -B envs/make_environments.py
SNAKEMAKE = $(VENVS)/workflow/bin/snakemake
PYTEST = -m pytest -o cache_dir=.pytest_cache

TESTS = test-given test-study test-workflow test-grpo test-analysis test-sft
STUDY = tests/study/test_end_to_end.py
GIVEN = $(patsubst %,tests/study/test_%.py,kills notebook own_models slurm)
.PHONY: help pretrained environments locks mini test test-vllm test-quick $(TESTS) soak bench gpu check lint rulegraph reference docs clean

help:
	@echo "make mini          build the environments, then run the mini study: results/mini/report.html"
	@echo "make test          build the environments, then run every test in its environment"
	@echo "make test-quick    the tests that are not slow, in the analysis environment"
	@echo "make bench         build the peers' environment, then measure: tables, and the ratios as JSON"
	@echo "make gpu           check kernels, extraction and training on a GPU, in at most 10 minutes and without a"
	@echo "                   network; without a GPU a reduced form on the CPU (SIZE=small): docs/gpu.md"
	@echo "make soak          kill the smallest study 50 times at random moments and compare; ends with a line of JSON"
	@echo "make lint          format, style, spelling, import contracts and types: CONTRIBUTING.md"
	@echo "make check         make lint, then the tests"
	@echo "make docs          build the documentation site, in an environment of its own: site/index.html"
	@echo "make environments  build the environments of the mini study under $(VENVS), or find them up to date;"
	@echo "                   ENVS=config.yaml: those of a configuration; ENVS='sft-cuda vllm': those named"
	@echo "make locks         pin every package of the environments in envs/locks, after an edit of envs/*.yaml"
	@echo "make clean         delete results/mini and all caches; environments stay"

environments: # ENVS: names, or the configuration whose environments are needed (mini.yaml's without)
	@$(MAKE_ENVIRONMENTS) $(ENVS)
locks: environments
	@$(VENVS)/.tools/bin/python -B envs/lock_environments.py $(ENVS)

mini: environments
	@started=$$(date +%s); \
	$(SNAKEMAKE) --configfile mini.yaml --cores $(CORES) && \
	echo "report: results/mini/report.html ($$(($$(date +%s) - started)) s)"

# Each environment runs the tests of what it is for, two at a time; all of them run even if one fails,
# and each is printed when it ends. Triton chooses its interpreter when it is first imported.
test: environments
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target $(TESTS)

test-given: # they share one study of given models
	@$(VENVS)/workflow/bin/python $(PYTEST) $(GIVEN)
test-study:
	@$(VENVS)/workflow/bin/python $(PYTEST) $(STUDY)
test-workflow:
	@$(VENVS)/workflow/bin/python $(PYTEST) tests/study $(patsubst %,--ignore=%,$(STUDY) $(GIVEN))
test-analysis:
	@TRITON_INTERPRET=1 $(VENVS)/analysis/bin/python $(PYTEST)
test-grpo:
	@$(VENVS)/grpo/bin/python $(PYTEST) tests/posttraining/grpo
test-vllm: # an environment of its own, and not part of `make test`; that of sft makes SmolLM2
	@$(MAKE_ENVIRONMENTS) vllm sft
	@$(VENVS)/vllm/bin/python $(PYTEST) tests/posttraining/vllm
test-quick: # in one environment; not part of `make test`, which runs these tests too
	@$(MAKE_ENVIRONMENTS) analysis
	@$(VENVS)/analysis/bin/python $(PYTEST) -m "not slow"
test-sft:
	@$(VENVS)/sft/bin/python $(PYTEST) tests/posttraining/sft

# Peers have an environment of their own. Two threads, unless BENCH_THREADS says otherwise; as in the
# workflow, PyTorch's threads do not spin while they wait.
BENCH_THREADS ?= 2
bench:
	@$(MAKE_ENVIRONMENTS) ../benchmarks/peers
	@OMP_NUM_THREADS=$(BENCH_THREADS) OMP_WAIT_POLICY=passive $(VENVS)/peers/bin/python -m benchmarks $(ONLY)

# What has not met a GPU. It builds no environment: a machine with a GPU may have no network.
GPU_PYTHON ?= $(firstword $(wildcard $(VENVS)/analysis-cuda/bin/python) $(wildcard $(VENVS)/analysis/bin/python) $(PYTHON))
gpu: # SIZE=full or small; ONLY='step reader': some sections
	@OMP_NUM_THREADS=$(BENCH_THREADS) $(GPU_PYTHON) -m benchmarks.gpu $(SIZE) $(ONLY)

# About 15 minutes on an idle machine of two cores: docs/reproducibility.md.
soak: environments
	@$(VENVS)/workflow/bin/python tests/study/kills.py 50

check: environments
	@$(MAKE) --no-print-directory lint test

lint:
	@$(MAKE_ENVIRONMENTS) workflow lint
	$(VENVS)/workflow/bin/ruff check .
	$(VENVS)/workflow/bin/ruff format --check .
	$(VENVS)/workflow/bin/snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint
	$(VENVS)/lint/bin/lint-imports --no-cache
	$(VENVS)/lint/bin/codespell
	$(VENVS)/lint/bin/mypy

pretrained: environments # the models of mini.yaml, made by its rules: pretrained/README.md
	$(SNAKEMAKE) --configfile mini.yaml --cores $(CORES) results/mini/world/base results/mini/world/teacher
	for model in base teacher; do rm -rf pretrained/$$model; cp -r results/mini/world/$$model pretrained/$$model; \
	rm -f pretrained/$$model/.snakemake_timestamp; done

rulegraph: # in docs/workflow-graph.md, drawn from the workflow
	$(SNAKEMAKE) --configfile mini.yaml --rulegraph mermaid-js | $(VENVS)/workflow/bin/python docs/rulegraph.py

reference: # of all configuration keys, and the JSON schema for editors
	$(VENVS)/workflow/bin/python -m crosslens.config.reference

docs: # the site; a broken link or any other warning is an error
	@$(MAKE_ENVIRONMENTS) docs
	@NO_MKDOCS_2_WARNING=1 $(VENVS)/docs/bin/mkdocs build --strict && echo "site/index.html"

clean:
	rm -rf site results/mini .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './$(VENVS)/*' -prune -exec rm -rf {} +
