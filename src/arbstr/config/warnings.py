"""What a configuration allows itself although it is probably not meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from arbstr.config import schema
from arbstr.config.alerts import alert_warnings
from arbstr.config.environment import key_variable
from arbstr.config.leaves import MOCK
from arbstr.config.problems import dotted, quoted
from arbstr.config.routes import Routes
from arbstr.config.units import Address

_MAY_PASS = frozenset({403, 408, 409, 425, 429})
"""Of the statuses below 500, those that a second try may change; 403 as a firewall's page, which is not about the key.
All others say what they say at any try, whatever is configured."""


_TELLING = ("auth", "key", "token", "cashu", "secret", "cookie")
"""What the name of a header has in it whose value is a credential."""

HARD_TO_GUESS = 24
"""Characters of an admin key: unlike a gateway key, somebody may have made it up."""


def warnings(config: schema.Config, key_sources: Mapping[str, str], routes: Routes) -> Iterator[str]:
    """One line each: ``path.to.key: what is odd, and what to do about it``."""
    discovering = any(provider.auto_discover for provider in config.providers.values())
    if not config.providers:
        yield "providers: there is none, so every request is answered 404"
    for name, provider in config.providers.items():
        for key, message in _of_provider(name, provider, key_sources[name], bool(routes.deployments[name])):
            yield f"{dotted(('providers', name, *key))}: {message}"
        unpriced = [deployment.model for deployment in routes.deployments[name] if deployment.rates is None]
        if unpriced:
            yield f"{dotted(('providers', name))}: {_unpriced(unpriced, refused=config.budget.unpriced == 'refuse')}"
    for index, rule in enumerate(config.policies.rules):
        for model in sorted(rule.allowed_models or ()):
            if model not in routes.by_model and routes.default is None and not discovering:
                yield f'policies.rules[{index}].allowed_models: nobody sells "{model}"'
    for index, status in enumerate(config.resilience.retry.retryable_errors):
        if status < 500 and status not in _MAY_PASS:
            place = f"resilience.retry.retryable_errors[{index}]"
            yield f"{place}: has no effect, as a provider is never tried again after {status}"
    yield from alert_warnings(config.alerts)
    if config.server.admin_key and config.server.admin_key.source == "literal":
        yield 'server.admin_key: stands in the file, better a variable: admin_key = "${ARBSTR_ADMIN_KEY}"'
    if config.server.admin_key and len(config.server.admin_key.secret.reveal()) < HARD_TO_GUESS:
        yield f"server.admin_key: is short enough to be guessed, better {HARD_TO_GUESS} random characters or more"
    for index, network in enumerate(config.server.trusted_proxies):
        if network.prefixlen == 0:
            yield f"server.trusted_proxies[{index}]: is every address, so that every caller can say that it is another"
    if not config.server.listen.loopback and config.server.allow_unauthenticated and not config.auth.required:
        yield "server.allow_unauthenticated: whoever can reach this address can spend your money"


_MOST_NAMED = 5
"""Models of one provider that a warning names."""


def _unpriced(models: Sequence[str], *, refused: bool) -> str:
    more = f" and {len(models) - _MOST_NAMED} more" if len(models) > _MOST_NAMED else ""
    unasked = ", and where a budget has to hold it is not asked" if refused else ""
    named = ", ".join(map(quoted, models[:_MOST_NAMED]))
    return f"has no price for {named}{more}, so that costs are unknown{unasked}: give it rates"


def _of_provider(
    name: str, provider: schema.Provider, key_source: str, used: bool
) -> Iterator[tuple[tuple[str, ...], str]]:
    if not used and not provider.auto_discover:
        yield (), "no model is listed and no route names it, so it is never called"
    for header, value in provider.headers.items():
        if value.source == "literal" and any(word in header.lower() for word in _TELLING):
            yield ("headers", header), 'stands in the file, better a variable: "${NAME}"'
    if key_source == "none" and not provider.headers and provider.kind not in ("ollama", MOCK):
        yield ("api_key",), f"none is set ({key_variable(name)} is not either), so it is called without a key"
    if key_source == "literal":
        yield ("api_key",), f'stands in the file, better a variable: "${{{key_variable(name)}}}", or no line at all'
    if provider.base_url is None:
        return
    parts = urlsplit(provider.base_url)
    if not parts.path and provider.kind == "openai":
        yield ("base_url",), "has no path; most OpenAI-compatible APIs are found under /v1"
    secret = key_source != "none" or provider.headers
    if parts.scheme == "http" and secret and not Address(parts.hostname or "", 80).loopback:
        yield ("base_url",), "sends its key unencrypted, better https://"
