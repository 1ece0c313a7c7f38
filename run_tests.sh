#!/usr/bin/env bash
# Sets the environment up and runs the tests: ./run_tests.sh [pytest's arguments]
#
# TF_VERSION=1.13.2 ./run_tests.sh runs them under another TensorFlow (1.13 to 1.15), in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")"

requirements=requirements.txt
if [ -n "${TF_VERSION:-}" ]; then
  VENV=.venv-$TF_VERSION
  mkdir -p "$VENV-requirements"
  requirements=$VENV-requirements/requirements.txt
  sed "s/^tensorflow==.*/tensorflow==$TF_VERSION/" requirements.txt > "$requirements"
fi
. ./setup_environment.sh "$requirements" requirements-figures.txt requirements-tests.txt

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec "$VENV_PYTHON" -m pytest -n auto "$@"
