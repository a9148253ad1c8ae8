#!/usr/bin/env bash
# Makes $VENV from requirements.lock with $PYTHON; `make` calls it.
set -euo pipefail

fail() {
    echo "make: $*" >&2
    exit 1
}

# the command of a job has the path of its Python, without quotes
odd='[][:space:]()&;"$`\*?[#~<>|!{}:'\'']'
if [[ $PWD/$VENV =~ $odd ]]; then
    fail "the path of $PWD has '${BASH_REMATCH[0]}' in it, with which no job can start; move the folder to a path of letters, digits, - and _"
fi
command -v "$PYTHON" >/dev/null ||
    fail "there is no $PYTHON; install Python 3.11, 3.12 or 3.13, or name it: make PYTHON=python3.12"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail "$PYTHON does not run; install Python 3.11, 3.12 or 3.13, or name it: make PYTHON=python3.12"
case $version in
3.11 | 3.12 | 3.13) ;;
*) fail "$PYTHON is Python $version; 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12" ;;
esac
case "$(uname -sm)" in
"Darwin x86_64") fail "PyTorch has made no packages for Intel Macs since 2.2; use Linux or an Apple-silicon Mac" ;;
esac

[ -x "$VENV/bin/python" ] && [ "$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$version" ] || {
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" || fail "$PYTHON can't make a virtual environment; install its venv package (Debian: python3-venv)"
}
# uv installs in a tenth of pip's time; its version and hashes are the lock's own
uv_lock=$(mktemp)
trap 'rm -f "$uv_lock"' EXIT
awk '/^[^ ]/ { found = /^uv==/ } found' requirements.lock >"$uv_lock"
echo "Installing into $VENV: 6 GB, most of it PyTorch. After the download this takes a minute or two"
"$VENV/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$uv_lock"
export VIRTUAL_ENV=$PWD/$VENV
# compiled at once: otherwise each of thousands of jobs could pay for it
"$VENV/bin/uv" pip sync --quiet --require-hashes --compile-bytecode requirements.lock
"$VENV/bin/uv" pip install --quiet --no-deps --no-build-isolation --offline -e .
echo "Compiling the training kernels for this processor: half a minute"
"$VENV/bin/python" -m weightscape.engine
