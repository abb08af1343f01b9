# Each target works alone on a fresh clone; what is already set up is left alone.
#   make RBDM_PYTHON=/path/to/python3.12 test     with another Python (3.11, 3.12 or 3.13)
#   make RBDM_GPU=1 setup                         with CUDA's libraries, for an NVIDIA GPU
.DEFAULT_GOAL := help
.PHONY: help setup reproduce explore test test-latest check export clean readme lock clean-outputs
SHELL := /bin/sh
BIN := .venv/bin
PYTHON ?=
export RBDM_PYTHON ?= $(PYTHON)
export RBDM_GPU ?=
export TF_CPP_MIN_LOG_LEVEL ?= 3
unexport PYTHONPATH PYTHONHOME

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile | awk -F': ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: ## make .venv with everything installed, from requirements.lock (RBDM_GPU=1: requirements-gpu.lock)
	@.ci/setup

reproduce: setup ## run the main job on the built-in corpus; results in outputs/demo
	@$(BIN)/rbdm run demo
	@$(BIN)/rbdm report --set demo && $(BIN)/rbdm compare demo --short

explore: setup ## serve the panel of nbs/05a_explorer.ipynb as a page: a network, its maps, masks and answers
	@$(BIN)/voila --VoilaConfiguration.extension_denylist=jupyterlab-jupytext nbs/05a_explorer.ipynb

test: setup ## run every notebook in a small size, then the tests
	@$(BIN)/nbdev_test --n_workers 2 --do_print
	@$(BIN)/python -m pytest -q -n auto --dist loadfile tests

test-latest: setup ## run the tests of relevance, masks and training with the newest TensorFlow, in .venv-latest
	@.ci/latest

check: setup ## are notebooks clean, and rbdm_nb/ and README.md in step with them?
	@.ci/check

export: setup ## write rbdm_nb/ from nbs/
	@$(BIN)/nbdev_export

clean: setup ## strip outputs and stray metadata from nbs/, write the parameter lines that notebooks share
	@$(BIN)/python .ci/parameters.py
	@$(BIN)/jupyter nbconvert --log-level WARN --clear-output --inplace nbs/*.ipynb && $(BIN)/nbdev_clean

readme: setup ## write README.md from nbs/index.ipynb, and outputs/<set>/README.md of the sets it shows
	@$(BIN)/rbdm readme

COMPILE = uv pip compile -q --refresh-package rbdm-nb $(UPGRADE) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--extra dev --extra cluster --extra explore --generate-hashes --no-emit-index-url --no-header

lock: ## bring both lock files up to date with settings.ini (needs uv; UPGRADE=-U for newer versions)
	@$(COMPILE) -o requirements.lock setup.py
	@$(COMPILE) --extra gpu -c requirements.lock -o requirements-gpu.lock setup.py

clean-outputs: ## delete what runs have computed (outputs/*/store); figures, tables and notebooks stay
	@rm -rf outputs/*/store
