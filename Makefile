# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
#
#   make demo    set up .venv and run the whole path on this machine: camera, node, recorder
#   make test    set up .venv and run every check: ruff, mypy, import-linter, pytest
#   make gpu     on a machine with an NVIDIA GPU: everything that needs one, in a quarter of an hour
#   make lint    set up .venv and run ruff, mypy and import-linter only
#   make docs    set up .venv and write the tables of the documentation that are made from the code
#   make picture set up .venv and make the README's picture with the present weights, for a release
#   make setup   set up .venv only
#   make clean   remove .venv and everything that was built
#
#   PYTHON=python3.12      the interpreter for .venv (3.11 and 3.12 have ROS wheels)
#   TORCH_INDEX=URL        where torch comes from; for machines without an NVIDIA GPU
#                          https://download.pytorch.org/whl/cpu saves several GB of CUDA packages
#   PYTEST_ARGS='-k bags'           runs a part of the tests and nothing else: no lint, no GPU packages;
#                                   without it the tests without DDS run two by two
#   DEMO_ARGS='--input video.mp4'   passed on to `lrn demo`; GPU_ARGS likewise to benchmark/gpu.py
#
#   ROS_DISTRO=kilted      takes that distribution's wheels instead of Jazzy's, in .venv-kilted;
#                          `make test` then runs lint and the tests over DDS
#
# With ROS sourced, .venv uses that ROS installation instead of the ROS wheels.

PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=

# Is a ROS installation sourced for this interpreter?
ROS_SOURCED := $(if $(ROS_DISTRO),$(shell $(PYTHON) -c 'import rclpy' 2>/dev/null && echo yes))
ifeq ($(ROS_SOURCED),yes)
  SYSTEM_SITE := true
  EXTRAS := dev,train,export,openvino,bags
  # The installation's cv_bridge is compiled against its own NumPy: keep that version.
  PINS := $(shell $(PYTHON) -c 'import numpy; print("numpy==" + numpy.__version__)' 2>/dev/null)
  WHERE := ROS $(ROS_DISTRO) as sourced
  VENV ?= .venv
  TESTS := all
else ifeq ($(filter-out jazzy,$(ROS_DISTRO)),)
  SYSTEM_SITE := false
  EXTRAS := dev,train,export,openvino,bags,ros,ros-test
  PINS :=
  WHERE := ROS Jazzy from wheels
  VENV ?= .venv
  TESTS := all
else ifeq ($(ROS_DISTRO),kilted)
  SYSTEM_SITE := false
  EXTRAS := dev,train,export,openvino,bags,ros-kilted,ros-test
  PINS :=
  WHERE := ROS Kilted from wheels
  VENV ?= .venv-kilted
  TESTS := dds
else
  $(error ROS_DISTRO=$(ROS_DISTRO) is not sourced, and there are wheels for jazzy and kilted only)
endif

BIN := $(VENV)/bin
STAMP := $(VENV)/.lrn_ros_setup
TEST_STAMP := $(VENV)/.lrn_ros_test_setup
export PIP_DISABLE_PIP_VERSION_CHECK := 1
VERSION := -c 'import sys; print(*sys.version_info[:2])'
PIP := $(BIN)/python -m pip install --quiet --quiet

.PHONY: help setup demo test gpu lint docs picture clean
.DEFAULT_GOAL := help

help:
	@sed -n '4,24s/^# \{0,1\}//p' Makefile

setup: $(STAMP)

$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) or ("$(ROS_SOURCED)" == "yes" and v >= (3, 10)) else "$(PYTHON) is Python %d.%d: the ROS wheels exist for 3.11 and 3.12. Name one of these, such as PYTHON=python3.12, or source a ROS installation" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@if [ "$$($(BIN)/python $(VERSION) 2>/dev/null)" = "$$($(PYTHON) $(VERSION))" ] \
	    && grep -qs 'system-site-packages = $(SYSTEM_SITE)' $(VENV)/pyvenv.cfg; then \
	  echo "==> $(VENV) is there and is brought up to date"; \
	else \
	  echo "==> making $(VENV) with $$($(PYTHON) --version) ($(WHERE))"; \
	  $(PYTHON) -m venv --clear $(if $(filter true,$(SYSTEM_SITE)),--system-site-packages) $(VENV); \
	fi
	@echo "==> installing $(TORCH)$(if $(TORCH_INDEX), from $(TORCH_INDEX)) (may take minutes the first time)"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	@echo "==> installing lrn_ros[$(EXTRAS)]"
	@$(PIP) --editable '.[$(EXTRAS)]' '$(TORCH)' $(PINS)
	@touch $@
	@echo "==> $(VENV) is ready"

$(TEST_STAMP): $(STAMP)
	@echo "==> installing lrn_ros[tensorrt]: tests of the GPU backends need it, 200 MB, and no GPU"
	@$(PIP) --editable '.[$(EXTRAS),tensorrt]' '$(TORCH)' $(PINS)
	@touch $@

demo: $(STAMP)
	@echo "==> lrn demo: a camera, the node and a recorder as three processes"
	@ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST $(BIN)/python -m lrn_ros demo $(DEMO_ARGS)

gpu: $(STAMP)
	@$(BIN)/python benchmark/gpu.py $(GPU_ARGS)

lint: $(STAMP)
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> import-linter"
	@$(BIN)/lint-imports --no-logo --no-cache

docs: $(STAMP)
	@$(BIN)/python docs/tables.py

picture: $(STAMP)
	@$(BIN)/python docs/picture.py

test: export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
ifneq ($(strip $(PYTEST_ARGS)),)
test: $(STAMP)
	@echo "==> pytest $(PYTEST_ARGS)"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)
else ifeq ($(TESTS),dds)
test: lint $(STAMP)
	@echo "==> pytest: the tests over DDS with $(WHERE)"
	@$(BIN)/python -m pytest test/ros
else
test: lint $(TEST_STAMP)
	@echo "==> pytest"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore test/ros
	@$(BIN)/python -m pytest test/ros
endif

clean:
	rm -rf .venv .venv-kilted build install log dist *.egg-info lrn_demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find lrn_ros test launch benchmark -name __pycache__ -prune -exec rm -rf {} +
