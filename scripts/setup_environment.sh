# Creates a virtual environment with TensorFlow and installs requirement files. Source it from bash:
#
#     . scripts/setup_environment.sh requirements.txt [more files]
#
# Afterwards $VENV_PYTHON is the interpreter of the environment. Unchanged requirement files are not
# installed again. Variables that control it:
#
#     TF_VERSION           1.13 to 1.15 (Python 3.7) or 2.12 to 2.15 (Python 3.9 to 3.11). Default:
#                          1.15.3 if there is a Python 3.7, else 2.15.1. For TensorFlow 2,
#                          requirements/tf2.txt replaces requirements.txt.
#     SYSTEM_TENSORFLOW=1  Use the installed TensorFlow, NumPy and protobuf, as in NVIDIA's
#                          containers.
#     PYTHON               Interpreter to create the environment with. Default: search PATH, pyenv,
#                          conda and uv.
#     VENV                 Folder of the environment. Default: .venv, .venv-$TF_VERSION or
#                          .venv-system.

_TF1=1.15.3
_TF2=2.15.1
_PYTHONS1="3.7"
_PYTHONS2="3.11 3.10 3.9"

if [ -z "${VENV:-}" ] || [ "$VENV" = "${_DEFAULT_VENV:-}" ]; then  # unset, or set by an earlier call
  VENV=.venv${TF_VERSION:+-$TF_VERSION}
  if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then VENV=.venv-system; fi
  _DEFAULT_VENV=$VENV
fi
VENV_PYTHON=$VENV/bin/python

_error() {
  printf 'error: %s\n' "$1" >&2
  return 2
}

_has_tf1_wheels() {
  case $(uname -s)-$(uname -m) in Darwin-arm64 | Linux-aarch64 | Linux-arm64) return 1 ;; esac
}

# Prints the version of an interpreter, such as 3.11; fails if there is none.
_python_version() {
  [ -n "$1" ] && "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null
}

# Whether the list $1 contains the word $2.
_contains() {
  case " $1 " in *" $2 "*) ;; *) return 1 ;; esac
}

_can_create_environments() {
  "$1" -c 'import venv, ensurepip' >/dev/null 2>&1 </dev/null
}

# Prints interpreters that may have one of the versions $1, one per line.
_candidates() {
  local version folder
  for version in $1; do printf 'python%s\n' "$version"; done
  printf '%s\n' python3 python
  for version in $1; do
    ls -d "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python
    command -v pyenv >/dev/null && ls -d "$(pyenv root)/versions/$version".*/bin/python
    command -v uv >/dev/null && uv python find --system "$version"
  done
  command -v conda >/dev/null && folder=$(conda info --base) && ls -d "$folder"/bin/python "$folder"/envs/*/bin/python
} 2>/dev/null

# Sets `python` to an interpreter with one of the versions $1, and `without_venv` to one that lacks
# venv or ensurepip.
_find_python() {
  local candidate version
  while read -r candidate; do
    version=$(_python_version "$candidate") && _contains "$1" "$version" || continue
    if _can_create_environments "$candidate"; then
      python=$candidate
      return
    fi
    without_venv=${without_venv:-$candidate}
  done < <(_candidates "$1")
  return 1
}

# Downloads Python 3.11 with uv and prints its path; installs uv in $VENV.uv if it is missing.
_fetch_python() {
  local uv candidate
  if ! uv=$(command -v uv); then
    uv=$VENV.uv/bin/uv
    for candidate in python3 python; do
      if [ -x "$uv" ]; then break; fi
      "$candidate" -m pip --version >/dev/null 2>&1 || continue
      PIP_ROOT_USER_ACTION=ignore "$candidate" -m pip install --quiet --disable-pip-version-check --target "$VENV.uv" uv >&2
    done
  fi
  [ -x "$uv" ] && "$uv" python install 3.11 >&2 && "$uv" python find --system 3.11
}

# Sets `version` (of TensorFlow) and `python` from $PYTHON.
_use_named_python() {
  local found pythons
  found=$(_python_version "$PYTHON") || { _error "PYTHON=$PYTHON is not a Python interpreter"; return; }
  if [ -z "$version" ]; then
    version=$_TF2
    if _contains "$_PYTHONS1" "$found" && _has_tf1_wheels; then version=$_TF1; fi
  fi
  case $version in
    1.*) pythons=$_PYTHONS1 needs="Python 3.7" ;;
    *) pythons=$_PYTHONS2 needs="Python 3.9 to 3.11" ;;
  esac
  if ! _contains "$pythons" "$found"; then
    _error "PYTHON=$PYTHON is Python $found, and TensorFlow $version needs $needs: name another one, or unset PYTHON to search for it"
  elif ! _can_create_environments "$PYTHON"; then
    _error "PYTHON=$PYTHON has no venv or ensurepip module: install it (Debian, Ubuntu: apt-get install python3-venv), or name another one"
  else
    python=$PYTHON
  fi
}

# Sets `version` (of TensorFlow) and `python` from the installed ones, or fetches Python 3.11.
_choose_python() {
  local without_venv="" none="Python 3.9 to 3.11" hint
  case $version in
    1.*)
      _find_python "$_PYTHONS1" || _error "TensorFlow $version needs Python 3.7, and none was found: install it with \
\`conda create -n py37 python=3.7\` or \`pyenv install 3.7.17\` (PYTHON=/path/to/python3.7 names one elsewhere), or set TF_VERSION=$_TF2"
      return ;;
    "")
      version=$_TF2
      if ! _has_tf1_wheels; then
        if _find_python "$_PYTHONS2"; then
          printf 'TensorFlow 1.15 has no wheels for %s: using TensorFlow %s with %s.\n' "$(uname -m)" "$version" "$python" >&2
          return
        fi
      elif _find_python "$_PYTHONS1"; then
        version=$_TF1
        return
      else
        without_venv=""
        if _find_python "$_PYTHONS2"; then
          printf 'No Python 3.7 found: using TensorFlow %s with %s.\n' "$version" "$python" >&2
          return
        fi
        none="Python 3.7 or 3.9 to 3.11"
      fi ;;
    *) if _find_python "$_PYTHONS2"; then return; fi ;;
  esac
  printf 'No %s with venv found: fetching Python 3.11 with uv for TensorFlow %s.\n' "$none" "$version" >&2
  python=$(_fetch_python) && _can_create_environments "$python" && return
  hint="install one with \`conda create -n py311 python=3.11\` or \`pyenv install 3.11\` (PYTHON=/path/to/python3.11 names one elsewhere)"
  if [ -n "$without_venv" ]; then
    hint="$without_venv lacks venv or ensurepip: install it (Debian, Ubuntu: apt-get install python3-venv), or $hint"
  fi
  _error "TensorFlow $version needs Python 3.9 to 3.11, and uv could not fetch one: $hint"
}

# Prints the version of the TensorFlow that an interpreter imports, if any.
_tensorflow_version() {
  "$1" -c 'import tensorflow; print("TensorFlow " + tensorflow.__version__)' 2>/dev/null </dev/null | sed -n 's/^TensorFlow //p'
}

# Sets `version` and `python` to an installed TensorFlow and its interpreter.
_choose_system_tensorflow() {
  local candidate found
  if [ -n "${TF_VERSION:-}" ]; then
    _error "SYSTEM_TENSORFLOW uses the installed TensorFlow: unset it or TF_VERSION"
    return
  fi
  while read -r candidate; do
    version=$(_tensorflow_version "$candidate")
    if [ -n "$version" ]; then python=$candidate; break; fi
  done < <(if [ -n "${PYTHON:-}" ]; then printf '%s\n' "$PYTHON"; else printf '%s\n' python3 python; fi)
  if [ -z "$version" ]; then
    _error "SYSTEM_TENSORFLOW is set, but ${PYTHON:-neither python3 nor python} can import tensorflow: set PYTHON to an interpreter that can, or unset SYSTEM_TENSORFLOW"
  elif ! [[ $version =~ ^(1\.1[3-5]|2\.[0-9]|2\.1[0-5])([^0-9]|$) ]]; then
    _error "$python has TensorFlow $version: 1.13 to 2.15 are supported"
  else
    found=$(_python_version "$python")
    _contains "3.7 3.8 $_PYTHONS2" "$found" || _error "$python is Python $found: SYSTEM_TENSORFLOW needs Python 3.7 to 3.11"
  fi
}

_check_version() {
  if [[ $1 =~ ^(1\.1[3-5]|2\.1[2-5])(\.[0-9]+)*$ ]]; then
    case $1 in 1.*) _has_tf1_wheels || _error "TensorFlow $1 has no wheels for $(uname -m): set TF_VERSION=$_TF2" ;; esac
  elif [[ $1 =~ ^(2\.(1[6-9]|[2-9][0-9])|[3-9]|[1-9][0-9]) ]]; then
    _error "TF_VERSION=$1: TensorFlow 2.16 and later have no estimators; set TF_VERSION=$_TF2"
  else
    _error "TF_VERSION=$1 is not supported: set it to 1.13 to 1.15 (for example $_TF1) or 2.12 to 2.15 ($_TF2)"
  fi
}

# Sets `version` to the TensorFlow of the existing environment; fails if there is none or it does
# not match the variables.
_reuse_environment() {
  local found named
  if [ -e "$VENV/unfinished" ]; then return 1; fi
  found=$(_python_version "$VENV_PYTHON") || return
  if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then
    grep -qs '^include-system-site-packages = true' "$VENV/pyvenv.cfg" || return
    version=$(cat "$VENV/system-tensorflow" 2>/dev/null) || return
  elif grep -qs '^include-system-site-packages = true' "$VENV/pyvenv.cfg"; then
    return 1
  else
    case $version,$found in
      ,3.7) _has_tf1_wheels && version=$_TF1 || return ;;
      ,3.9 | ,3.10 | ,3.11) version=$_TF2 ;;
      1.*,3.7 | 2.*,3.9 | 2.*,3.10 | 2.*,3.11) ;;
      *) return 1 ;;
    esac
  fi
  if [ -n "${PYTHON:-}" ]; then
    named=$(_python_version "$PYTHON") || named="not a Python interpreter"
    if [ "$named" != "$found" ]; then
      printf 'PYTHON=%s (%s) is not used: %s exists and has Python %s.\n' "$PYTHON" "$named" "$VENV" "$found" >&2
    fi
  fi
}

_create_environment() {
  local options=()
  if [ -e "$VENV" ] && [ ! -e "$VENV/unfinished" ] && ! compgen -G "$VENV/installed-*" >/dev/null; then
    _error "$VENV is not an environment of this project: remove it, or set VENV to another folder"
    return
  fi
  if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then
    _choose_system_tensorflow || return
    options=(--system-site-packages)
    _can_create_environments "$python" || options+=(--without-pip)  # the system's pip serves the environment too
  elif [ -n "${PYTHON:-}" ]; then
    _use_named_python || return
  else
    _choose_python || return
  fi
  printf '+ %s -m venv %s%s\n' "$python" "${options[*]:+${options[*]} }" "$VENV" >&2
  rm -rf "$VENV"
  mkdir -p "$VENV" && : > "$VENV/unfinished" || return
  "$python" -m venv ${options[@]+"${options[@]}"} "$VENV" || return
  if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then
    if [ "$(_tensorflow_version "$VENV_PYTHON")" != "$version" ]; then
      rm -rf "$VENV"
      _error "environments created with $python do not see its TensorFlow $version, because it is in a virtual environment itself: activate that one and install the other requirements there"
      return
    fi
    printf '%s\n' "$version" > "$VENV/system-tensorflow"
  fi
  rm "$VENV/unfinished"
}

# Prints the requirement file to install for $1: with the pins of `version`, and without packages of
# the system.
_adapt() {
  local file=$1 adapted=$VENV/adapted edit=()
  if [ "${file##*/}" = requirements.txt ]; then
    case $version in
      1.*) edit=(-e "s/^tensorflow==[^ ;]*/tensorflow==$version/") ;;
      *)
        file=$(dirname "$file")/requirements/tf2.txt
        # 2.12 needs numpy < 1.24; 2.12 to 2.15 run with these two
        edit=(-e "s/^tensorflow==[^ ;]*/tensorflow==$version/" -e "s/^numpy==[^ ;]*/numpy==1.23.5/" -e "s/^protobuf==[^ ;]*/protobuf==4.23.4/") ;;
    esac
    case $version in "$_TF1" | "$_TF2") edit=() ;; esac
  fi
  if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then edit=(-E -e '/^(tensorflow|numpy|protobuf)[^A-Za-z0-9_-]/d'); fi
  if [ ${#edit[@]} -gt 0 ]; then
    mkdir -p "$adapted" && sed "${edit[@]}" "$file" > "$adapted/${file##*/}" || return
    file=$adapted/${file##*/}
  fi
  printf '%s\n' "$file"
}

# Installs one requirement file unless it was installed with the same content.
_install() {
  local copy=$VENV/installed-${1##*/} options=() size=""
  if cmp -s "$1" "$copy"; then return; fi
  # The dependencies of other packages must not replace the NumPy and protobuf that TensorFlow needs.
  if [ -n "${SYSTEM_TENSORFLOW:-}" ] || ! grep -q '^tensorflow==' "$1"; then
    "$VENV_PYTHON" -m pip list --disable-pip-version-check --format=freeze 2>/dev/null |
      grep -iE '^(numpy|protobuf)==' > "$VENV/constraints.txt"
    options=(-c "$VENV/constraints.txt")
  fi
  if grep -q '^tensorflow==' "$1"; then size="  # TensorFlow: up to 2 GB, a minute or more"; fi
  printf '+ %s -m pip install -r %s%s\n' "$VENV_PYTHON" "$1" "$size" >&2
  "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check ${options[@]+"${options[@]}"} -r "$1" || {
    _error "pip could not install $1, for the reason above: check the network, and that TensorFlow $version exists (TF_VERSION)"
    return
  }
  cp "$1" "$copy"
}

set_up_environment() {
  local python="" version=${TF_VERSION:-} needs file adapted
  if [ -n "$version" ] && [ -z "${SYSTEM_TENSORFLOW:-}" ]; then _check_version "$version" || return; fi
  _reuse_environment || _create_environment || return
  for file in "$@"; do
    adapted=$(_adapt "$file") && _install "$adapted" || return
  done
}

set_up_environment "$@" || return
