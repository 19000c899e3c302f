"""What a running gateway says of itself, for commands that can do without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any

import msgspec

from arbstr.config import Compiled

PATIENCE = 1.0
"""Seconds."""
_LARGEST = 4 * 1024**2
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ID = "x-arbstr-request-id"
"""The header that every answer of arbstr's has."""
_ABOUT_IT = frozenset({"invalid_request", "policy_violation", "model_not_found", "context_length_exceeded"})
"""Codes of errors that say something of the request that is asked about, and not of who asks."""


class Answer(msgspec.Struct, frozen=True):
    """What the gateway on the configured address answered."""

    status: int
    body: Any
    """Its JSON."""
    ours: bool
    """Whether it is one of arbstr's: somebody else may listen there."""


def circuits(compiled: Compiled) -> dict[str, dict[str, Any]]:
    """The circuit of each provider, from the gateway on the configured address; empty where none answers.

    A gateway there that runs on another configuration says nothing about providers that it does not have.
    """
    try:
        answer = ask(compiled, "GET", "/v1/providers")
        entries = answer.body["data"] if answer is not None else []
        found = {str(entry["name"]): {**entry["circuit"], "state": str(entry["circuit"]["state"])} for entry in entries}
    except (LookupError, TypeError):
        return {}
    return {spec.name: found[spec.name] for spec in compiled.providers if spec.name in found}


def explained(compiled: Compiled, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer | None:
    """What the gateway on the configured address would do with a chat request; None where none answers, or none that
    talks to us."""
    answer = ask(compiled, "POST", "/v1/route/explain", body=body, headers=headers)
    try:
        known = (
            answer is not None and answer.ours and (answer.status == 200 or answer.body["error"]["code"] in _ABOUT_IT)
        )
    except (LookupError, TypeError):
        return None
    return answer if known else None


def ask(
    compiled: Compiled,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer | None:
    """Ask the gateway on the configured address; None where nobody answers in JSON. No key is sent: who calls from the
    gateway's own machine needs none."""
    if compiled.port == 0:
        return None
    connection = HTTPConnection(_ANY.get(compiled.host, compiled.host), compiled.port, timeout=PATIENCE)
    data = None if body is None else json.dumps(body).encode()
    with closing(connection):
        try:
            connection.request(method, path, body=data, headers={"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            ours = response.getheader(_ID) is not None
            return Answer(response.status, json.loads(response.read(_LARGEST)), ours)
        except (OSError, ValueError, RecursionError, HTTPException):
            return None
