#!/usr/bin/env bash
# Runs the gateway in front of a LiteLLM proxy that answers with its own mock responses. Not part of `make test`:
# the first run installs LiteLLM into an environment of its own, which `make bench` shares.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ ! -x .venv/bin/python ]]; then
    echo "compat: .venv is missing; run 'make compat', which creates it" >&2
    exit 1
fi
LITELLM_PROGRAM=$(.venv/bin/python -m bench.peers litellm)
export LITELLM_PROGRAM
exec .venv/bin/python -m pytest tests/compat/check_litellm.py -p no:cacheprovider -v --no-header "$@"
