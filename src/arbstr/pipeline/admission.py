"""May this request come in? Before its body is read: is there room. After it: what did the caller wish, and may it."""

from __future__ import annotations

import enum
import re
from decimal import Decimal
from typing import TypeVar

import msgspec

from arbstr.domain.decision import Matched
from arbstr.domain.errors import Draining, InvalidRequest, ModelNotAllowed, Overloaded, PolicyViolation
from arbstr.domain.identity import Key
from arbstr.domain.money import Currency
from arbstr.domain.request import NO_WISHES, ChatRequest, Wishes
from arbstr.domain.routing import Commit, StreamMetadata
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.state import LiveState
from arbstr.policy.limits import NO_SLOT
from arbstr.policy.pricing import expected_tokens
from arbstr.policy.terms import Ceiling

Choice = TypeVar("Choice", bound=enum.Enum)


def enter(state: LiveState, exchange: Exchange) -> None:
    """Is there room? ``exchange`` is counted already. Raises Draining or Overloaded."""
    if state.draining:
        raise Draining("the gateway is stopping: send the request to another instance", retry_after=1.0)
    if len(state.in_flight) > exchange.snapshot.max_in_flight:
        raise Overloaded(
            f"{exchange.snapshot.max_in_flight} requests are in flight, which is this gateway's limit", retry_after=1.0
        )


def admit(request: ChatRequest, wishes: Wishes, exchange: Exchange, state: LiveState) -> ChatRequest:
    """Take down what the caller asks for, and the tokens it may need of those it has a minute.

    Raises InvalidRequest for a wish that is none of the choices, ModelNotAllowed, PolicyViolation, RateLimited.
    """
    exchange.request = request
    key = exchange.key
    if key is not None:
        _check_key(key, request, wishes)
    route = exchange.snapshot.route_for(request.model)
    if route is not None:
        exchange.commit = route.commit
    if wishes is not NO_WISHES:
        _take_down(wishes, exchange)
    if exchange.slot is not NO_SLOT:
        tokens = sum(expected_tokens(request, state.mean_output(route.model if route is not None else "")))
        refused = exchange.slot.charge(tokens, state.clock.monotonic())
        if refused is not None:
            exchange.limits_view = refused.view
            raise refused.error()
    return request


def policy_of(exchange: Exchange, wishes: Wishes) -> tuple[str | None, Matched]:
    """The policy that is named for a request, and by what: a key's own holds for all that is asked with it. Where none
    is named, keywords may choose one."""
    key = exchange.key
    if key is not None and key.policy is not None:
        return key.policy, Matched.KEY
    return (None, Matched.KEYWORD) if wishes.policy is None else (wishes.policy, Matched.HEADER)


def _check_key(key: Key, request: ChatRequest, wishes: Wishes) -> None:
    if not key.allows(request.model):
        raise ModelNotAllowed(f"the key {key.name!r} is not for the model {request.model!r}", param="model")
    if key.models is not None and "models" in request.fields:
        for model in _other_models(request.fields["models"]):
            if not key.allows(model):
                raise ModelNotAllowed(f"the key {key.name!r} is not for the model {model!r}", param="models")
    if key.policy is not None and wishes.policy not in (None, key.policy):
        raise PolicyViolation(
            f"the key {key.name!r} is held to the policy {key.policy!r}, not to {wishes.policy!r}",
            param="X-Arbstr-Policy",
        )


def _other_models(value: msgspec.Raw) -> list[str]:
    """The models that a vendor may take in place of the one that was asked for: OpenRouter's ``models``."""
    try:
        return msgspec.json.decode(value, type=list[str] | None) or []
    except msgspec.MsgspecError:
        raise InvalidRequest("models must be a list of names of models.", param="models") from None


def _take_down(wishes: Wishes, exchange: Exchange) -> None:
    if wishes.commit is not None:
        exchange.commit = _choice(Commit, wishes.commit, "X-Arbstr-Commit")
    if wishes.stream_metadata is not None:
        exchange.metadata = _choice(StreamMetadata, wishes.stream_metadata, "X-Arbstr-Stream-Metadata")
    if wishes.max_cost_sats is not None:
        exchange.ceilings += (_ceiling(wishes.max_cost_sats, Currency.SATS, "X-Arbstr-Max-Cost-Sats"),)
    if wishes.max_cost_usd is not None:
        exchange.ceilings += (_ceiling(wishes.max_cost_usd, Currency.USD, "X-Arbstr-Max-Cost-Usd"),)
    if wishes.timeout_ms is not None:
        seconds = _milliseconds(wishes.timeout_ms) / 1000
        if exchange.started + seconds < exchange.deadline:
            exchange.deadline, exchange.time_limit = exchange.started + seconds, seconds


_AMOUNT = re.compile(r"\d{1,12}(\.\d{1,12})?", re.ASCII)
_LONGEST_MS = 86_400_000


def _ceiling(value: str, currency: Currency, header: str) -> Ceiling:
    """An amount that a caller lets a request cost. Digits beyond the currency's smallest unit are cut off: never
    more than was said."""
    text = value.strip()
    if not _AMOUNT.fullmatch(text):
        unit = "satoshis" if currency is Currency.SATS else "dollars"
        raise InvalidRequest(f"{header} is {value[:40]!r}, expected {unit} as 0.25 or 100", param=header)
    return Ceiling(int(Decimal(text) * currency.smallest), currency, header)


def _milliseconds(value: str) -> int:
    text = value.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and 1 <= int(text) <= _LONGEST_MS):
        raise InvalidRequest(
            f"X-Arbstr-Timeout-Ms is {value[:40]!r}, expected whole milliseconds from 1 to {_LONGEST_MS}",
            param="X-Arbstr-Timeout-Ms",
        )
    return int(text)


def _choice(kind: type[Choice], value: str, header: str) -> Choice:
    try:
        return kind(value.strip().lower())
    except ValueError:
        choices = ", ".join(each.value for each in kind)
        raise InvalidRequest(f"{header} is {value!r}, expected one of: {choices}", param=header) from None
