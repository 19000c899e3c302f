"""Callers of ``POST /v1/completions``: text to be continued, as it was asked for before there were chats.

A provider of the same dialect is sent what the caller wrote. For any other, a single prompt is a user's message;
several prompts, tokens and a suffix have no meaning there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arbstr.dialects import body as bodies
from arbstr.dialects.body import wrong
from arbstr.dialects.chat.answer import json_of, usage_object
from arbstr.dialects.chat.fields import Fields, value_of
from arbstr.dialects.chat.read import sampling
from arbstr.dialects.chat.whole import collect
from arbstr.dialects.envelopes import error_event
from arbstr.dialects.lenient import size
from arbstr.dialects.openai.caller import OpenAICaller
from arbstr.dialects.openai.request import MAX_CHOICES
from arbstr.dialects.openai.usage import merge_usage
from arbstr.dialects.sse import DONE
from arbstr.dialects.translate import StreamWriter
from arbstr.domain.answer import Begin, Finish, FinishReason, RefusalDelta, TextDelta
from arbstr.domain.conversation import Conversation, Message, Role, Text
from arbstr.domain.errors import GatewayError, InvalidRequest
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import BYTES_PER_TOKEN, Usage

MAX_PROMPTS = 2048

_PROMPT = "a string, a list of strings, a list of tokens or a list of lists of tokens"


def parse_completion(body: bytes) -> ChatRequest:
    """The request in ``body``. Raises :class:`InvalidRequest`. ``n`` counts all that will be written: for each prompt,
    ``n`` choices, or ``best_of`` of which as many are shown."""
    return bodies.parse(body, _request)


def _request(whole: dict[str, Any], fields: bodies.Fields) -> ChatRequest:
    model = bodies.model_name(whole.get("model"))
    stream = bodies.boolean(whole.get("stream"), "stream")
    options = whole.get("stream_options")
    if options is not None and type(options) is not dict:
        raise wrong("stream_options", options, "an object")
    prompts = whole.get("prompt")
    count, input_bytes = measure(prompts, "prompt")
    suffix = whole.get("suffix")
    if suffix is not None and type(suffix) is not str:
        raise wrong("suffix", suffix, "a string")
    n = bodies.integer(whole.get("n"), "n", MAX_CHOICES) or 1
    best_of = bodies.integer(whole.get("best_of"), "best_of", MAX_CHOICES) or 1
    last = prompts[-1] if type(prompts) is list else prompts
    return ChatRequest(
        model=model,
        stream=stream,
        fields=fields,
        input_bytes=input_bytes + size(suffix or ""),
        last_user_text=last if type(last) is str else "",
        max_tokens=bodies.integer(whole.get("max_tokens"), "max_tokens", bodies.MAX_TOKENS),
        n=max(n, best_of) * count,
        include_usage=stream
        and options is not None
        and bodies.boolean(options.get("include_usage"), "stream_options.include_usage"),
        dialect="completions",
    )


def measure(found: Any, param: str) -> tuple[int, int]:
    """How many prompts (or inputs) ``found`` is, and the bytes that they count for: texts in UTF-8, tokens at the rule
    of thumb. Raises InvalidRequest for what is none of the four forms."""
    if type(found) is str:
        return 1, size(found)
    if type(found) is not list or not found:
        raise wrong(param, found, _PROMPT)
    if type(found[0]) is int:
        return 1, _tokens(found, param)
    if len(found) > MAX_PROMPTS:
        raise InvalidRequest(f"{param} has {len(found):,} entries; at most {MAX_PROMPTS:,}.", param=param)
    total = 0
    for index, item in enumerate(found):
        if type(item) is not type(found[0]) or type(item) not in (str, list) or (not item and type(item) is list):
            raise wrong(f"{param}[{index}]", item, "a string or a list of tokens, as the others are")
        total += size(item) if type(item) is str else _tokens(item, f"{param}[{index}]")
    return len(found), total


def _tokens(found: list[Any], param: str) -> int:
    for index, token in enumerate(found):
        if type(token) is not int or token < 0:
            raise wrong(f"{param}[{index}]", token, "a token: a whole number")
    return len(found) * BYTES_PER_TOKEN


def read_completion(request: ChatRequest) -> Conversation:
    """The prompt as a user's message. Raises :class:`InvalidRequest` for what only a provider of this dialect can
    continue: several prompts, tokens, a text with a suffix."""
    prompt = _prompt(request)
    fields = Fields(request.fields)
    fields.ignore("model", "prompt", "stream", "stream_options", "max_tokens", "echo")
    if value_of(request.fields["suffix"]) if "suffix" in request.fields else None:
        raise InvalidRequest("suffix can only be given to a provider of text completions.", param="suffix")
    parts = (Text(prompt),) if prompt else ()
    return Conversation(
        instructions=(),
        messages=(Message(Role.USER, parts),),
        max_tokens=request.max_tokens,
        n=fields.whole_number("n") or 1,
        top_k=fields.whole_number("top_k"),
        user=fields.text("user"),
        **sampling(fields),
        dropped=fields.dropped(),
    )


def _prompt(request: ChatRequest) -> str:
    prompt = value_of(request.fields["prompt"])
    if type(prompt) is list and len(prompt) == 1:
        prompt = prompt[0]
    if type(prompt) is str:
        return prompt
    raise InvalidRequest("prompt must be one text for this model's provider, which speaks in chats.", param="prompt")


def _echo(request: ChatRequest) -> str:
    echo = request.fields.get("echo")
    return _prompt(request) if echo is not None and value_of(echo) is True else ""


_FINISH = {FinishReason.LENGTH: "length", FinishReason.CONTENT_FILTER: "content_filter"}


def _finish(reason: FinishReason, *, refused: bool) -> str:
    if refused or reason is FinishReason.REFUSAL:
        return "content_filter"  # there is nothing nearer
    return _FINISH.get(reason, "stop")


class CompletionStreamWriter:
    """A stream of text completions. A refusal is text here, and its finish says that it is one."""

    def __init__(self, *, id: str, model: str, created: int, include_usage: bool, echo: str) -> None:
        head = json_of({"id": id, "object": "text_completion", "created": created, "model": model})
        self._head = b"data: " + head[:-1] + b',"choices":['
        self._include_usage = include_usage
        self._tail = (b'],"usage":null}' if include_usage else b"]}") + b"\n\n"
        self._echo = echo
        self._refused: dict[int, bool] = {}
        self._finished: set[int] = set()
        self._usage: Usage | None = None

    def write(self, frame: Frame) -> bytes:
        self._usage = merge_usage(self._usage, frame.usage)
        parts = []
        for event in frame.events:
            if isinstance(event, TextDelta | RefusalDelta):
                parts.append(self._said(event.choice, event.text))
                self._refused[event.choice] |= isinstance(event, RefusalDelta)
            elif isinstance(event, Finish):
                parts.append(self._ended(event.choice, event.reason))
            elif isinstance(event, Begin) and self._echo:
                parts.append(self._said(0, ""))
        return b"".join(parts)

    def end(self, *, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        open_ = [index for index in self._refused if index not in self._finished]
        parts = [self._ended(index, FinishReason.STOP) for index in open_]
        if self._include_usage and self._usage is not None:
            usage = json_of(usage_object(self._usage, cost_sats=cost_sats, cost_usd=cost_usd))
            parts.append(self._head + b'],"usage":' + usage + b"}\n\n")
        return b"".join(parts) + DONE

    def error(self, error: GatewayError) -> bytes:
        return error_event(error)

    def _said(self, index: int, text: str) -> bytes:
        if index not in self._refused:
            self._refused[index] = False
            text = self._echo + text
        return self._chunk(index, text) if text else b""

    def _ended(self, index: int, reason: FinishReason) -> bytes:
        begun = self._said(index, "")
        self._finished.add(index)
        return begun + self._chunk(index, "", _finish(reason, refused=self._refused[index]))

    def _chunk(self, index: int, text: str, finish: str | None = None) -> bytes:
        choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
        return self._head + json_of(choice) + self._tail


class CompletionCaller(OpenAICaller):
    """A caller of ``/v1/completions``: a :class:`~arbstr.dialects.translate.CallerDialect`."""

    name = "completions"

    def parse(self, body: bytes) -> ChatRequest:
        return parse_completion(body)

    def read(self, request: ChatRequest) -> Conversation:
        return read_completion(request)

    def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> StreamWriter:
        return CompletionStreamWriter(
            id=f"cmpl-{request_id}",
            model=model,
            created=created,
            include_usage=request.include_usage,
            echo=_echo(request),
        )

    def whole(
        self, request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
    ) -> bytes:
        choices, usage = collect(frames)
        echo = _echo(request)
        listed = [
            {
                "text": echo + choice.text + choice.refusal,
                "index": index,
                "logprobs": None,
                "finish_reason": _finish(choice.finish, refused=bool(choice.refusal)),
            }
            for index, choice in choices.items()
        ]
        answer: dict[str, Any] = {"id": f"cmpl-{request_id}", "object": "text_completion", "created": created}
        answer |= {"model": model, "choices": listed}
        return json_of(answer if usage is None else {**answer, "usage": usage_object(usage)})
