"""Who asks, and may they at all: decided by headers, before a body is read."""

from __future__ import annotations

from arbstr.domain.errors import InvalidApiKey, RateLimited
from arbstr.domain.identity import Key, Standing
from arbstr.domain.limits import NO_LIMITS
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.state import LiveState
from arbstr.policy.limits import Refused


def authenticate(state: LiveState, credential: bytes | None, address: str, *, required: bool) -> Key | None:
    """The key that a request is made with; None where the gateway asks for none.

    A key that was revoked or has expired still counts as existing: the gateway never falls open. Raises InvalidApiKey;
    RateLimited where too many wrong ones came from ``address``.
    """
    if not required and not state.keys.exists:
        return None
    if credential is None:
        raise InvalidApiKey(
            "this gateway asks for a key: send Authorization: Bearer sk-arbstr-… (or x-api-key, api-key)"
        )
    now = state.clock.time()
    key = state.keys.find(credential, now)
    if key is not None and key.standing(now) is Standing.ACTIVE:
        return key
    wait = state.guesses.failed(address, state.clock.monotonic())
    if wait is not None:
        raise RateLimited("too many wrong keys came from this address", retry_after=wait)
    if key is None:
        raise InvalidApiKey("this is no key of this gateway")
    expired = key.standing(now) is Standing.EXPIRED
    raise InvalidApiKey(f"the key {key.name!r} {'has expired' if expired else 'was revoked'}")


def identify(state: LiveState, exchange: Exchange, credential: bytes | None, address: str) -> None:
    """Take down whose request it is, and one request of what they may ask a minute. Raises GatewayError."""
    snapshot = exchange.snapshot
    key = exchange.key = authenticate(state, credential, address, required=snapshot.auth_required)
    limits = snapshot.limits if key is None or key.limits == NO_LIMITS else key.limits
    if limits is NO_LIMITS:
        return
    slot = state.limiters.admit(address if key is None else key.id, limits, state.clock.monotonic())
    if isinstance(slot, Refused):
        exchange.limits_view = slot.view
        raise slot.error()
    exchange.slot = slot
