# shellcheck shell=bash
# Sourced by bin/dev, bin/test, bin/bench and bin/chaos. Makes .venv and installs requirements-dev.txt into it,
# where that is not done yet; changes to the repository and sets $python. Costs some 20 ms when there is nothing to do.
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
python="$venv/bin/python"
lock="$root/requirements-dev.txt"
stamp="$venv/.carillon"
cd -- "$root"

say() { printf 'carillon: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

version() { "$1" -I -S -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
makes_venvs() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }
as_chosen() { [ -z "${PYTHON:-}" ] || [ "$(version "$1")" = "$(version "$PYTHON")" ]; }

# Another lock, another Python behind the link, or another place of the clone: it is to be done again.
wanted_stamp() { printf '%s, Python %s, %s\n' "$(cksum <"$lock")" "$(version "$python")" "$root"; }
is_installed() { [ -r "$stamp" ] && [ "$(<"$stamp")" = "$(wanted_stamp)" ] && as_chosen "$python"; }

# Its scripts start with its path: a moved one is of no use.
venv_is_sound() {
  [ -x "$python" ] && new_enough "$python" && as_chosen "$python" &&
    "$python" -m pip --version >/dev/null 2>&1 && grep -qF "$venv/bin/python" "$venv/bin/pip"
}

find_python() {
  local candidate without_venv=''
  local candidates=(python3.14 python3.13 python3.12 python3.11 python3)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    new_enough "$candidate" || continue
    if makes_venvs "$candidate"; then
      printf '%s' "$candidate"
      return
    fi
    without_venv="$candidate"
  done
  [ -z "$without_venv" ] ||
    fail "$without_venv cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
  fail "Python 3.11 or newer is needed; tried ${candidates[*]}. Install it, or set PYTHON to its path."
}

# Making it anew would empty the one it leads to, which may be another clone's.
require_own_venv() {
  [ ! -L "$venv" ] || fail "$venv is a link to another place: remove it, and this clone gets its own."
}

require_writable() {
  local path
  for path in "$root" "$venv"; do
    [ ! -e "$path" ] || [ -w "$path" ] || fail "You may not write to $path: use a clone of your own."
  done
}

# The installer itself comes from the lock too, with its hashes.
install_uv() {
  awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$lock" >"$venv/uv.txt"
  "$python" -m pip install --quiet --require-hashes --no-deps -r "$venv/uv.txt"
}

install_packages() {
  if install_uv && "$python" -m uv pip sync --quiet --require-hashes --python "$python" "$lock"; then
    return
  fi
  say "uv could not do it (it does not read pip's configuration); trying pip"
  "$python" -m pip install --quiet --require-hashes -r "$lock"
}

install() (
  require_own_venv
  require_writable
  base="$python"
  venv_is_sound || base="$(find_python)"
  # One at a time: the lock is on descriptor 9, which this subshell and Python share.
  exec 9<"$lock"
  "$base" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  if is_installed; then
    return # another one did it while we waited
  fi
  say "installing requirements-dev.txt into .venv"
  rm -f -- "$stamp"
  venv_is_sound || "$base" -m venv --clear "$venv"
  install_packages || fail "The packages could not be installed (see above)."
  wanted_stamp >"$stamp"
)

is_installed || install
unset PYTHONDONTWRITEBYTECODE # a dozen processes would each compile everything anew
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
