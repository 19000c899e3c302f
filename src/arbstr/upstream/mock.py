"""Built-in providers that need no network: for ``arbstr serve --mock``, to watch routing, fallback and cost with curl.

They answer in the OpenAI dialect through the same decoder as real ones. Their habits are fixed, not random, so that a
tutorial can say what will be seen: which call of a provider fails is a matter of counting.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

import msgspec

from arbstr.dialects.chat import ChatProvider
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment
from arbstr.domain.usage import estimated_tokens

WORDS = "This is a mock answer from {provider}, which costs nothing and knows nothing."


SPEECH = ChatProvider()


class Habits(msgspec.Struct, frozen=True):
    """How a mock provider behaves. Times in seconds."""

    first_token: float
    between_tokens: float
    failures: tuple[bool, ...] = (False,)
    """Which calls fail with a 503, over and over."""


FLAKY = (False, False, True, False, False, True, True, True)
"""The third call fails once (a retry is seen), and the sixth to eighth in a row (the circuit opens)."""

HABITS = {
    "cheap-but-flaky": Habits(first_token=0.05, between_tokens=0.02, failures=FLAKY),
    "steady": Habits(first_token=0.15, between_tokens=0.03),
    "dear-and-fast": Habits(first_token=0.02, between_tokens=0.005),
}


class MockProvider:
    """Answers after a while, or fails, by its habits."""

    def __init__(self, name: str, habits: Habits | None = None) -> None:
        self.name = name
        self.habits = habits if habits is not None else HABITS.get(name, HABITS["steady"])
        self.fails: Iterator[bool] = itertools.cycle(self.habits.failures)

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> MockAttempt:
        return MockAttempt(self, request, deployment)


class MockAttempt:
    at_work = True

    def __init__(self, provider: MockProvider, request: ChatRequest, deployment: Deployment) -> None:
        self._provider = provider
        self._request = request
        self._deployment = deployment

    async def __aenter__(self) -> MockAnswer:
        habits = self._provider.habits
        await asyncio.sleep(habits.first_token)
        if self._request.dialect == "embeddings":
            raise UpstreamFailure(FailureKind.INEXPRESSIBLE, "mock providers have no embeddings", status=400)
        if next(self._provider.fails):
            raise UpstreamFailure(FailureKind.SERVER_ERROR, "mock failure: service unavailable", status=503)
        return MockAnswer(self._pieces(), habits.between_tokens)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was opened."""

    def _pieces(self) -> list[Frame]:
        events = self._request.dialect != "openai"
        words = WORDS.format(provider=self._provider.name).split(" ")
        usage = {"prompt_tokens": estimated_tokens(self._request.input_bytes), "completion_tokens": len(words)}
        usage["total_tokens"] = sum(usage.values())
        base = {"id": "chatcmpl-mock", "created": int(time.time()), "model": self._deployment.model}
        if not self._request.stream:
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return [SPEECH.parse_whole(json.dumps(whole).encode(), events=events)]
        base["object"] = "chat.completion.chunk"
        texts = [word if nth == 0 else f" {word}" for nth, word in enumerate(words)]
        deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
        chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({**base, "choices": [], "usage": usage})
        stream = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
        return SPEECH.decoder(events=events).feed(stream + b"data: [DONE]\n\n")


class MockAnswer:
    status = 200
    dialect = "openai"
    dropped: tuple[str, ...] = ()

    def __init__(self, frames: Sequence[Frame], between: float) -> None:
        self._frames = list(frames)
        self._between = between

    async def read(self, until: float) -> Sequence[Frame]:
        if not self._frames:
            return ()
        await asyncio.sleep(self._between)
        return [self._frames.pop(0)]
