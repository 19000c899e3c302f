"""What a running gateway says of itself, for commands that can do without it."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any

from arbstr.config import Compiled

PATIENCE = 1.0
"""Seconds."""
_LARGEST = 4 * 1024**2
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def circuits(compiled: Compiled) -> dict[str, dict[str, Any]]:
    """The circuit of each provider, from the gateway on the configured address; empty where none answers.

    A gateway there that runs on another configuration says nothing about providers that it does not have.
    """
    if compiled.port == 0:
        return {}
    connection = HTTPConnection(_ANY.get(compiled.host, compiled.host), compiled.port, timeout=PATIENCE)
    with closing(connection):
        try:
            connection.request("GET", "/v1/providers")
            entries = json.loads(connection.getresponse().read(_LARGEST))["data"]
            found = {
                str(entry["name"]): {**entry["circuit"], "state": str(entry["circuit"]["state"])} for entry in entries
            }
        except (OSError, ValueError, LookupError, TypeError, RecursionError, HTTPException):
            return {}
    return {spec.name: found[spec.name] for spec in compiled.providers if spec.name in found}
