#!/usr/bin/env bash
# Sets up the environment, checks the style and runs the tests: ./run_tests.sh [pytest arguments]
#
# TF_VERSION=2.15.1 ./run_tests.sh uses another TensorFlow; see scripts/setup_environment.sh.
set -euo pipefail
cd "$(dirname "$0")"

. scripts/setup_environment.sh requirements.txt requirements/figures.txt requirements/huggingface.txt \
  requirements/tests.txt

"$VENV_PYTHON" -m ruff check .
"$VENV_PYTHON" -m ruff format --check .
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec "$VENV_PYTHON" -m pytest -n auto -rs "$@"
