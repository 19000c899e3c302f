"""A pipeline on a fake clock, with scripted providers: what the tests of this room are built on."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.money import Rates
from arbstr.domain.record import RequestRecord
from arbstr.domain.request import Wishes
from arbstr.domain.routing import Deployment, ProviderView, Route, Snapshot, Strategy, Tier, Timeouts
from arbstr.pipeline.handle import Pipeline
from arbstr.pipeline.state import LiveState
from arbstr.testing import FakeClock, ListAlerts, ListLog, ListSink, MemorySpend, ScriptedCaller, ScriptedProvider, Step

MODEL = "gpt-4o"
CHEAP, DEAR = "cheap", "dear"

DONE = b"data: [DONE]\n\n"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":200,"total_tokens":300}}\n\n'
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n'


def text(content: str) -> bytes:
    """One content-bearing event."""
    chunk = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


HELLO = [ROLE, text("Hel"), text("lo"), STOP, USAGE, DONE]
"""A good stream."""


def whole(content: str = "Hello", *, usage: object = True) -> list[bytes]:
    """A good whole answer: 100 tokens in, 200 out, unless told otherwise."""
    answer: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
    }
    if usage is True:
        answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300}
    return [json.dumps(answer).encode()]


def body(*, stream: bool = False, **more: object) -> bytes:
    fields = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello"}], "stream": stream, **more}
    return json.dumps(fields).encode()


def failure(kind: FailureKind = FailureKind.SERVER_ERROR, message: str = "busy", **more: Any) -> UpstreamFailure:
    if kind is FailureKind.SERVER_ERROR:
        more.setdefault("status", 503)
    return UpstreamFailure(kind, message, **more)


def deployment(name: str, rate: str, *, window: int | None = None, timeouts: Timeouts | None = None) -> Deployment:
    """``rate`` satoshis per thousand tokens in and twice as much out, plus one for the request."""
    rates = Rates.per_thousand(input=Decimal(rate), output=Decimal(rate) * 2, base_fee=Decimal(1))
    return Deployment(name, f"{name}-model", rates, Tier.STANDARD, timeouts or Timeouts(), window)


@dataclass
class Rig:
    """Two providers of one model: ``cheap`` goes first by price, ``dear`` is the fallback."""

    deployments: tuple[Deployment, ...] = (deployment(CHEAP, "5"), deployment(DEAR, "10"))
    settings: dict[str, Any] = field(default_factory=dict)
    strategy: Strategy = Strategy.CHEAPEST
    clock: FakeClock = field(default_factory=FakeClock)
    store: MemorySpend | None = None
    """What outlives the gateway."""

    def __post_init__(self) -> None:
        self.log = ListLog()
        self.sink = ListSink()
        self.alerts = ListAlerts()
        self.state = LiveState(clock=self.clock, log=self.log, alerts=self.alerts, spend_store=self.store)
        self.providers = {each.provider: ScriptedProvider(self.clock) for each in self.deployments}
        views = tuple(
            ProviderView(each.provider, "scripted", "", None, "none", each.tier, (each,)) for each in self.deployments
        )
        self.snapshot = msgspec.structs.replace(
            Snapshot(routes={MODEL: Route(MODEL, self.strategy, self.deployments)}, providers=views), **self.settings
        )
        self.pipeline = Pipeline(
            snapshot=self.snapshot,
            providers=self.providers,
            state=self.state,
            clock=self.clock,
            sinks=[self.sink, *([self.store] if self.store is not None else [])],
            log=self.log,
            rng=random.Random(1),
        )

    def script(self, name: str, *steps: Step) -> ScriptedProvider:
        self.providers[name].then(*steps)
        return self.providers[name]

    def caller(self, *, stream: bool = False, wishes: Wishes | None = None, **more: object) -> ScriptedCaller:
        return ScriptedCaller(body(stream=stream, **more), wishes=wishes)

    async def ask(self, *, stream: bool = False, wishes: Wishes | None = None, **more: object) -> ScriptedCaller:
        """One request, answered; everything that was opened has been closed again."""
        caller = self.caller(stream=stream, wishes=wishes, **more)
        await self.pipeline.handle(caller)
        self.check_nothing_is_left()
        return caller

    def check_nothing_is_left(self) -> None:
        assert not self.state.in_flight
        for provider in self.providers.values():
            assert provider.opened == provider.closed

    @property
    def asked(self) -> list[str]:
        """Who was asked, in no order across providers."""
        return [name.partition("/")[0] for provider in self.providers.values() for name in provider.opened]

    @property
    def row(self) -> RequestRecord:
        """The only row."""
        (row,) = self.sink.requests
        return row

    def circuit(self, name: str) -> str:
        return self.state.circuits[name].breaker.state(self.clock.now).value


def error_of(caller: ScriptedCaller) -> dict[str, Any]:
    """The error object that a caller was given, as an answer or as the last event of a stream."""
    data = caller.received
    if caller.headers.get(b"x-arbstr-streaming") == b"true":
        data = data.rstrip().rsplit(b"\n\n", 1)[-1].removeprefix(b"data: ")
    error = json.loads(data)["error"]
    assert isinstance(error, dict)
    return error
