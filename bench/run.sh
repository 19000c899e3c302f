#!/usr/bin/env bash
# Measures arbstr beside nginx and other gateways; `bench/run.sh --help` lists the options.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ! -x .venv/bin/python ]]; then
    echo "bench: .venv is missing; run 'make bench', which creates it" >&2
    exit 1
fi
exec .venv/bin/python -m bench "$@"
