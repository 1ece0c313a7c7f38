#!/usr/bin/env bash
# Sets up the environment and runs the tests: ./run_tests.sh [pytest's arguments]
#
# TF_VERSION=1.13.2 ./run_tests.sh runs them under another TensorFlow; see scripts/setup_environment.sh.
set -euo pipefail
cd "$(dirname "$0")"

. scripts/setup_environment.sh requirements.txt requirements/figures.txt requirements/tests.txt

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec "$VENV_PYTHON" -m pytest -n auto "$@"
