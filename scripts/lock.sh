#!/usr/bin/env bash
# Renews requirements/*.txt: exact versions with the hashes of all their files, no index, no path of this machine.
# Extra words go to pip-compile, as in: make lock ARGS='--upgrade-package uvicorn'. Without any, everything is renewed.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- --upgrade
python=.venv-lock/bin/python
[ -x "$python" ] || {
    echo "lock: no .venv-lock yet; run: make lock" >&2
    exit 1
}

compile() {
    local out=$1
    shift
    CUSTOM_COMPILE_COMMAND="make lock" "$python" -m piptools compile --quiet --generate-hashes --strip-extras --allow-unsafe \
        --resolver backtracking --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-build-isolation \
        --output-file "$out" "$@"
}

compile requirements/run.txt "$@" pyproject.toml requirements/build.in
compile requirements/dev.txt "$@" pyproject.toml requirements/build.in requirements/dev.in
compile requirements/lock.txt "$@" requirements/lock.in
bash scripts/setup.sh dev
.venv/bin/python scripts/check_locks.py requirements/run.txt requirements/dev.txt
"$python" scripts/check_locks.py requirements/lock.txt
