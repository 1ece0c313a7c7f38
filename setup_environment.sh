# Makes a virtual environment with Python 3.7 and installs requirement files in it. To be sourced by bash:
#
#     . ./setup_environment.sh requirements.txt [more files]
#
# VENV names its folder (default .venv), PYTHON the interpreter to make it with. Afterwards $VENV_PYTHON is its
# interpreter. Nothing is installed again while the requirement files stay as they are.

VENV=${VENV:-.venv}
VENV_PYTHON=$VENV/bin/python

_is_python37() {
  [ -n "$1" ] && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 7))' >/dev/null 2>&1
}

_python37_candidates() {
  printf '%s\n' "${PYTHON:-}" python3.7 python3 python
  ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.7*/bin/python 2>/dev/null
  command -v pyenv >/dev/null && ls -d "$(pyenv root)"/versions/3.7*/bin/python 2>/dev/null
  command -v conda >/dev/null && ls -d "$(conda info --base)"/bin/python "$(conda info --base)"/envs/*/bin/python 2>/dev/null
  command -v uv >/dev/null && uv python find 3.7 2>/dev/null
}

_python37_fetched_by_uv() {
  local aside=$VENV.uv
  { python3 -m pip install --quiet --target "$aside" uv || python -m pip install --quiet --target "$aside" uv; } >&2 || return
  "$aside/bin/uv" python install --quiet 3.7 >&2 && "$aside/bin/uv" python find 3.7
}

find_python37() {
  local candidate
  while read -r candidate; do
    if _is_python37 "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done < <(_python37_candidates)
  printf 'No Python 3.7 on this machine; asking uv to fetch one.\n' >&2
  candidate=$(_python37_fetched_by_uv) && _is_python37 "$candidate" && printf '%s\n' "$candidate" && return
  printf '%s\n' "error: no Python 3.7 was found, and TensorFlow 1.15 runs on no newer one. Install it with" \
    "  conda create -n py37 python=3.7     or     pyenv install 3.7.17     or     uv python install 3.7" \
    "and run this again; PYTHON=/path/to/python3.7 names one that lies elsewhere." >&2
  return 2
}

# Installs one requirement file unless it was installed as it is now.
_install() {
  local copy=$VENV/installed-${1##*/}
  if ! cmp -s "$1" "$copy"; then
    printf '+ %s -m pip install -r %s\n' "$VENV_PYTHON" "$1" >&2
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check -r "$1" || return
    cp "$1" "$copy"
  fi
}

set_up_environment() {
  local python requirements
  if ! _is_python37 "$VENV_PYTHON"; then
    python=$(find_python37) || return
    if [ -e "$VENV" ] && ! compgen -G "$VENV/installed-*" >/dev/null; then
      printf 'error: %s is no Python 3.7 environment of this project; remove it, or name another with VENV=folder\n' "$VENV" >&2
      return 2
    fi
    printf '+ %s -m venv %s\n' "$python" "$VENV" >&2
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || return
  fi
  for requirements in "$@"; do
    _install "$requirements" || return
  done
}

set_up_environment "$@" || return
