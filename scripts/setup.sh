#!/usr/bin/env bash
# Sets up a virtual environment from a hash-locked list, and arbstr in it. Quick when there is nothing to do.
#
#   scripts/setup.sh run     what arbstr runs on         → .venv
#   scripts/setup.sh dev     and what its tests need     → .venv
#   scripts/setup.sh lock    what renews the locks       → .venv-lock
#
# PYTHON names the interpreter to start from (python3).
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:?usage: scripts/setup.sh run|dev|lock}
python=${PYTHON:-python3}
venv=.venv
[ "$what" = lock ] && venv=.venv-lock
lock=requirements/$what.txt
stamp=$venv/.arbstr-$what

die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# The fingerprint of everything the environment is made from, this folder's path included: a moved checkout is set up anew.
fingerprint() {
    { pwd; cat "$lock" pyproject.toml scripts/setup.sh; } | cksum
}

if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]; then
    exit 0
fi

command -v "$python" >/dev/null ||
    die "$python is missing. On Debian or Ubuntu: apt install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$python" --version) is too old, arbstr needs 3.11 or newer (Debian 12, Ubuntu 24.04: apt install python3 python3-venv)." \
        "Where a newer one is installed under another name: make PYTHON=python3.12 …"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$python cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv"

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "setup: making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" ||
        die "could not make $venv. On Debian or Ubuntu: apt install python3-venv"
fi

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"
}

echo "setup: installing $lock into $venv"
# Wheels only: no code of a package runs while it is installed, no compiler is needed, and no unlocked build tool is fetched.
pip install --quiet --require-hashes --only-binary :all: -r "$lock" || die \
    "could not install $lock; the lines above say why. Usual causes:" \
    "- no way to a package index (set PIP_INDEX_URL or HTTPS_PROXY where one is needed);" \
    "- no wheel for this machine: Linux on x86_64 or aarch64 with Python 3.11 to 3.14 is what the locks are made for;" \
    "- TLS certificates are missing. On Debian or Ubuntu: apt install ca-certificates"
if [ "$what" != lock ]; then
    pip install --quiet --no-build-isolation --no-deps --editable . || die "could not install arbstr itself into $venv"
fi
fingerprint >"$stamp"
