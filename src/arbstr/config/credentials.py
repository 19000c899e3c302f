"""Which key belongs to which provider, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from arbstr.config import kinds, schema
from arbstr.config.environment import key_variable
from arbstr.config.leaves import api_key
from arbstr.config.problems import Problems
from arbstr.config.units import Text
from arbstr.domain.secret import Secret

FETCHED = {"token_command": "token_command", "project": "google-auth"}
"""The keys that bring tokens instead of a key, the first of them before the second, and how the source is called."""

CHAINS = {"bedrock": "botocore"}
"""The kinds that are not called without credentials, and what finds them where there is no key."""


class Credential(msgspec.Struct, frozen=True):
    secret: Secret | None
    source: str
    """``none``, ``literal``, ``${NAME}``, the name of the environment variable, and of tokens that are fetched
    ``token_command``, ``google-auth`` or ``botocore``."""


def credentials(
    providers: Mapping[kinds.Name, schema.Provider], environ: Mapping[str, str], problems: Problems
) -> dict[str, Credential]:
    """The credential of each provider: its own, or by the convention ``ARBSTR_NAME_API_KEY``.

    Two names that come to the same variable are refused, lest one is called with the other's key.
    """
    owners: dict[str, str] = {}
    found: dict[str, Credential] = {}
    for name, provider in providers.items():
        variable = key_variable(name)
        owner = owners.setdefault(variable, name)
        if owner != name:
            problems.add(("providers", name), f"shares the key variable {variable} with {owner}, expected another name")
        key = _own(provider) or _by_convention(name, variable, environ, problems)
        fetched = next((rival for rival in FETCHED if getattr(provider, rival) is not None), None)
        if fetched is not None:
            if key.secret is not None:
                place = "api_key" if provider.api_key else f"the variable {variable}"
                problems.add(("providers", name, fetched), f"is given beside {place}, expected one of the two")
            key = Credential(secret=None, source=FETCHED[fetched])
        elif key.secret is None:
            key = Credential(secret=None, source=CHAINS.get(provider.kind or "", key.source))
        found[name] = key
    return found


def _own(provider: schema.Provider) -> Credential | None:
    key = provider.api_key
    return Credential(secret=key.secret, source=key.source) if key else None


def _by_convention(name: str, variable: str, environ: Mapping[str, str], problems: Problems) -> Credential:
    value = environ.get(variable, "")
    if not value:
        return Credential(secret=None, source="none")
    try:
        key = api_key(Text(value, variable), kinds.Key(""))
    except ValueError as error:
        problems.add(("providers", name, "api_key"), f"the value of {variable} {error}")
        return Credential(secret=None, source="none")
    return Credential(secret=key.secret, source=variable)
