from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arbstr.dialects.openai import encode_chat, parse_chat
from arbstr.dialects.openai.request import MAX_MESSAGES, MAX_VALUES
from arbstr.dialects.sizes import IMAGE_BYTES
from arbstr.domain.errors import InvalidRequest

HELLO = '[{"role": "user", "content": "hello"}]'


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], **fields}).encode()


def text(extra: str = "", *, messages: str = HELLO) -> bytes:
    """A body as text, for what a serialiser would not write."""
    return f'{{"model": "gpt-4o", "messages": {messages}{extra}}}'.encode()


def refused(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(raw)
    return caught.value


def sent(raw: bytes, model: str = "upstream") -> bytes:
    return encode_chat(parse_chat(raw), model=model)


def test_what_the_gateway_reads() -> None:
    """Model, stream, bounds, and the last user's text; all else stays in the fields."""
    request = parse_chat(
        body(
            messages=[
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": "second"},
                {"role": "assistant", "content": None},
            ],
            stream=True,
            max_tokens=9,
            n=2,
            stream_options={"include_usage": True},
            temperature=0.5,
        )
    )

    assert (request.model, request.stream, request.max_tokens, request.n) == ("gpt-4o", True, 9, 2)
    assert request.last_user_text == "second"
    assert request.include_usage
    assert bytes(request.fields["temperature"]) == b"0.5"


def test_null_is_absent() -> None:
    """Optional fields may be null, as some clients send all that they know."""
    request = parse_chat(body(stream=None, max_tokens=None, max_completion_tokens=None, n=None, stream_options=None))

    assert (request.stream, request.max_tokens, request.n, request.include_usage) == (False, None, 1, False)


def test_the_newer_name_of_max_tokens_wins() -> None:
    """``max_completion_tokens`` is what providers obey where both are given."""
    assert parse_chat(body(max_tokens=5, max_completion_tokens=7)).max_tokens == 7
    assert parse_chat(body(max_completion_tokens=7)).max_tokens == 7


@pytest.mark.parametrize("raw", [b"", b" \r\n\t"])
def test_an_empty_body_is_refused(raw: bytes) -> None:
    """And told apart from a broken one."""
    assert "empty" in refused(raw).message


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"model": "x"',
        b"not json",
        b"{'model': 1}",
        body() + b"x",
        body()[:-1] + b",}",
        body() + body(),
        text(', "a": "C:\\path"'),
        text(', "a": "line\nbreak"'),
        text(', "a": "\x00"'),
        text(', "a": "\\u12g4"'),
        text(', "a": 01'),
        text(', "a": 1.'),
        text(', "a": tru'),
        text(messages='[{"role": "user", "content": "line\nbreak"}]'),
    ],
)
def test_malformed_json_is_refused(raw: bytes) -> None:
    """Wherever it is malformed, read by us or not."""
    assert "not valid JSON" in refused(raw).message


@pytest.mark.parametrize(
    "raw",
    [
        text(', "user": "\xff"').decode().encode("latin-1"),
        text(messages='[{"role": "user", "content": "\xe9"}]').decode().encode("latin-1"),
        text(', "\xff": 1').decode().encode("latin-1"),
        text(', "user": "').removesuffix(b"}") + b'\xed\xa0\x80"}',
        text(', "user": "').removesuffix(b"}") + b'\xc0\xaf"}',
        body().decode().encode("utf-16"),
        body().decode().encode("utf-16-le"),
        body().decode().encode("utf-8-sig"),
    ],
    ids=["user", "content", "key", "surrogate", "overlong", "utf-16", "utf-16-le", "bom"],
)
def test_only_utf_8_is_accepted(raw: bytes) -> None:
    """No other encoding, no broken one, no BOM."""
    assert refused(raw).status == 400


@pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"text"', b"true"])
def test_the_body_is_an_object(raw: bytes) -> None:
    """Anything else is told what it is."""
    assert "must be a JSON object" in refused(raw).message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1E+400", "9" * 400 + ".0", "1" * 4300])
@pytest.mark.parametrize("where", [', "seed": {}', ', "a": [{{"b": [{}]}}]', ', "max_tokens": {}', ', "": {}'])
def test_numbers_that_nobody_can_hold_are_refused(number: str, where: str) -> None:
    """Also deep inside of fields that are not read, and whatever their sign."""
    assert refused(text(where.format(number))).status == 400


@pytest.mark.parametrize("digits", [4300, 4301, 5000, 20_000])
@pytest.mark.parametrize("padding", [0, 211, 429])
def test_numbers_of_thousands_of_digits_are_refused(digits: int, padding: int) -> None:
    """Wherever in the body they stand."""
    assert refused(text(f', "user": "{"x" * padding}", "a": [-{"7" * digits}]')).status == 400
    assert refused(text(f', "user": "{"x" * padding}", "a": 0.{"7" * digits}')).status == 400


def test_digits_in_text_are_text() -> None:
    """However many there are, and whatever quotes and backslashes stand around them."""
    digits = '\\"' + "1" * 50_000 + "\\\\"

    request = parse_chat(text(f', "user": "{digits}"', messages=f'[{{"role": "user", "content": "{digits}"}}]'))

    assert request.last_user_text == '"' + "1" * 50_000 + "\\"


def test_numbers_travel_as_their_bytes() -> None:
    """No digit is lost, in fields, messages and content parts."""
    numbers = "[1.0, 1E5, -0, 0.1000000000000000055511151231257827, 123456789012345678901234567890, 1e-400]"
    part = f'{{"type": "text", "text": "x", "b": {numbers}}}'

    out = sent(text(f', "a": {numbers}', messages=f'[{{"role": "user", "content": [{part}], "c": {numbers}}}]'))

    assert out.count(numbers.encode()) == 3


@pytest.mark.parametrize("where", ['"a": {}', '"messages": {}', '"model": {}', '"messages": [{{"content": {}}}]'])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(where: str, opening: str, closing: str) -> None:
    """A hundred thousand brackets are a 400, complete or not."""
    nested = opening * 100_000 + "1" + closing * 100_000

    assert refused(("{" + where.format(nested) + "}").encode()).status == 400
    assert refused(("{" + where.format(opening * 100_000)).encode()).status == 400


@pytest.mark.parametrize("where", ["{}", '[{{"role": "user", "content": {}}}]', '[{{"role": "user", "x": {}}}]'])
def test_nesting_at_the_edge_is_a_request_or_a_400(where: str) -> None:
    """However deep the call stack is where which part is read."""
    for depth in range(880, 1000):
        raw = text(messages=where.format("[" * depth + "]" * depth))
        try:
            parse_chat(raw)
        except InvalidRequest as error:
            message = error.message
    assert "nested" in message


def test_stream_options_nested_nearly_too_deeply_are_no_error_of_ours() -> None:
    """What could just be read can be sent, though the call stack is a little deeper then."""
    accepted = 0
    for depth in range(700, 1000, 2):
        try:
            request = parse_chat(text(f', "stream": true, "stream_options": {{"a": {"[" * depth}{"]" * depth}}}'))
        except InvalidRequest:
            break
        accepted += 1

        def deeper(levels: int, request: Any = request) -> bytes:
            return deeper(levels - 1) if levels else encode_chat(request, model="m")

        assert b'"include_usage":true' in deeper(20)
    assert accepted


def test_a_body_of_millions_of_values_is_refused() -> None:
    """Empty lists are three bytes each, and dozens when decoded."""
    assert "values" in refused(text(', "a": [' + "[]," * MAX_VALUES + "1]")).message


def test_large_bodies_are_read() -> None:
    """Megabytes of text or base64 are one value."""
    image = "data:image/png;base64," + "iVBOR1234567890e1234+/" * 100_000
    content = [{"type": "text", "text": "look, " * 50_000}, {"type": "image_url", "image_url": {"url": image}}]

    request = parse_chat(body(messages=[{"role": "user", "content": content}]))

    assert request.input_bytes == 300_000 + len("user") + IMAGE_BYTES
    assert json.loads(encode_chat(request, model="m"))["messages"][0]["content"] == content


def test_ten_thousand_messages_and_tools_are_read() -> None:
    """As long conversations and agents send them; beyond the limit a clear refusal."""
    messages = [{"role": "user", "content": "x"}] * 10_000
    tools = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(10_000)]

    assert parse_chat(body(messages=messages, tools=tools)).input_bytes > 10_000 * 5
    assert refused(body(messages=[{"role": "user"}] * (MAX_MESSAGES + 1))).param == "messages"


@pytest.mark.parametrize(
    ("fields", "param", "found"),
    [
        ({"model": None}, "model", "missing"),
        ({"model": []}, "model", "an empty list"),
        ({"model": 5}, "model", "the number 5"),
        ({"model": ""}, "model", "the string ''"),
        ({"messages": None}, "messages", "missing"),
        ({"messages": {}}, "messages", "an object"),
        ({"messages": []}, "messages", "an empty list"),
        ({"messages": "hi"}, "messages", "the string 'hi'"),
        ({"messages": [{"role": "user"}, "hi"]}, "messages[1]", "the string 'hi'"),
        ({"messages": [None]}, "messages[0]", "missing"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing"),
        ({"messages": [{"role": 1}]}, "messages[0].role", "the number 1"),
        ({"messages": [{"role": "user", "content": 1.5}]}, "messages[0].content", "the number 1.5"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content", "an object"),
        ({"messages": [{"role": "user", "content": [{}, ["x"]]}]}, "messages[0].content[1]", "a list"),
        ({"stream": "yes"}, "stream", "the string 'yes'"),
        ({"stream": 1}, "stream", "the number 1"),
        ({"max_tokens": "9"}, "max_tokens", "the string '9'"),
        ({"max_tokens": -1}, "max_tokens", "the number -1"),
        ({"max_tokens": 0}, "max_tokens", "the number 0"),
        ({"max_tokens": 1.5}, "max_tokens", "the number 1.5"),
        ({"max_tokens": True}, "max_tokens", "true"),
        ({"max_tokens": 10**12}, "max_tokens", "the number 1000000000000"),
        ({"max_tokens": 10**400}, "max_tokens", "a very large number"),
        ({"max_tokens": "9" * 99}, "max_tokens", "a string"),
        ({"max_completion_tokens": []}, "max_completion_tokens", "an empty list"),
        ({"n": 0}, "n", "the number 0"),
        ({"n": 1000}, "n", "the number 1000"),
        ({"n": "2"}, "n", "the string '2'"),
        ({"stream_options": [1]}, "stream_options", "a list"),
        ({"stream_options": True}, "stream_options", "true"),
        (
            {"stream": True, "stream_options": {"include_usage": "no"}},
            "stream_options.include_usage",
            "the string 'no'",
        ),
    ],
)
def test_wrong_types_are_named(fields: dict[str, Any], param: str, found: str) -> None:
    """The refusal says which field, what it is, and what it should be."""
    error = refused(body(**fields))

    assert error.param == param
    assert f"{param} must be " in error.message
    assert error.message.endswith(f", but is {found}.")


@pytest.mark.parametrize("model", ["a\r\nX-Evil: 1", "a\nb", "a\x00", "a\x7f", "a\u2028", "m" * 257])
def test_a_model_is_a_name_that_may_stand_in_a_header(model: str) -> None:
    """No line ends, no control characters, no novels."""
    assert refused(body(model=model)).param == "model"


def test_the_last_of_duplicate_keys_is_checked_and_sent() -> None:
    """At every level that is read, so that nobody upstream reads another one."""
    messages = (
        '[{"role": "system", "role": "user", "content": "a", "content": '
        '[{"type": "image_url", "type": "text", "text": "b", "text": "c"}]}]'
    )
    raw = text(', "stream": 1, "stream": false, "max_tokens": -1, "max_tokens": 5, "n": 1, "n": 2', messages=messages)

    request = parse_chat(raw)
    pairs = json.loads(encode_chat(request, model="m"), object_pairs_hook=list)

    assert (request.max_tokens, request.n, request.last_user_text) == (5, 2, "c")
    assert pairs == [
        ("model", "m"),
        ("messages", [[("role", "user"), ("content", [[("type", "text"), ("text", "c")]])]]),
        ("stream", False),
        ("max_tokens", 5),
        ("n", 2),
    ]


def test_unknown_fields_are_kept() -> None:
    """In the body, in messages and in content parts: providers know more than we do."""
    message = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"ttl": 5}}], "name": "Ann"}
    fields = {"messages": [message], "top_k": 5, "provider": {"order": ["a"]}, "reasoning": {"effort": "low"}}

    assert json.loads(sent(body(**fields), "other")) == {**json.loads(body(**fields)), "model": "other"}


@pytest.mark.parametrize("escape", ["\\ud800", "\\uDC00", "x\\udfff\\ud800", "\\ud83d\\u0041", "\\\\\\ud800"])
@pytest.mark.parametrize(
    "where",
    [
        '"messages": [{{"role": "user", "content": "{}"}}]',
        '"messages": [{{"role": "user", "content": [{{"type": "text", "text": "{}"}}]}}]',
        '"messages": [{{"role": "user", "content": "x", "a": {{"{}": 1}}}}]',
        '"messages": [{{"role": "user", "content": "x"}}], "user": "{}"',
        '"messages": [{{"role": "user", "content": "x"}}], "stream_options": {{"a": "{}"}}',
    ],
)
def test_lone_surrogates_are_sent_as_they_came(escape: str, where: str) -> None:
    """They are no text, but clients have them; policies read U+FFFD in their place."""
    raw = ('{"model": "m", ' + where.format(escape) + "}").encode()

    request = parse_chat(raw)

    assert escape.encode() in encode_chat(request, model="m")
    request.last_user_text.encode()
    assert json.loads(encode_chat(request, model="m")) == json.loads(raw)


def test_a_stream_whose_options_have_lone_surrogates_is_sent() -> None:
    """Those are read as U+FFFD, for these options are written anew."""
    raw = text(', "stream": true, "stream_options": {"a": "\\ud800"}')

    assert json.loads(sent(raw))["stream_options"] == {"a": "\ufffd", "include_usage": True}


def test_escaped_text_is_no_surrogate() -> None:
    """A backslash that is escaped itself escapes nothing, and pairs are characters."""
    raw = text(messages='[{"role": "user", "content": "\\\\ud800 \\ud83d\\ude00 \\ud800"}]')

    assert parse_chat(raw).last_user_text == "\\ud800 😀 \ufffd"


def test_a_field_named_by_a_lone_surrogate_is_refused() -> None:
    """Nobody means it, and it cannot be sent as it came."""
    assert refused(text(', "\\ud800": 1')).status == 400


@pytest.mark.parametrize("broken", [', "a": "\\ud800", "b": NaN', ', "a": "\\ud800", "b": "\\ud80"', ', "\\ud800'])
def test_lone_surrogates_excuse_nothing_else(broken: str) -> None:
    """What else is wrong with the body is still refused."""
    assert refused(text(broken)).status == 400


def test_the_upstream_model_replaces_the_callers() -> None:
    """In its place, once."""
    assert sent(body(), "claude") == b'{"model":"claude","messages":[{"role": "user","content": "hello"}]}'.replace(
        b'": "', b'":"'
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_usage": None}, {"include_usage": True}),
        ({"include_usage": True, "a": 1}, {"include_usage": True, "a": 1}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_streams_are_asked_for_usage(options: Any, expected: Any) -> None:
    """Whatever the caller wanted, and without touching its other options."""
    request = parse_chat(body(stream=True, stream_options=options))

    assert json.loads(encode_chat(request, model="m"))["stream_options"] == expected
    assert request.include_usage is bool(options and options.get("include_usage"))


def test_stream_options_can_be_left_out() -> None:
    """For providers that refuse them; of whole answers nothing is asked."""
    streamed = parse_chat(body(stream=True, stream_options={"include_usage": True}))

    assert "stream_options" not in json.loads(encode_chat(streamed, model="m", stream_options=False))
    assert "stream_options" not in json.loads(sent(body(stream=False)))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"role": "user", "content": "hello"}], 4 + 5),
        ([{"role": "user", "content": "héllo"}], 4 + 6),
        ([{"role": "user", "content": 'a"\n\\'}], 4 + 4),
        ([{"role": "user"}], 4),
        ([{"role": "user", "content": [{"type": "text", "text": "é"}]}], 4 + 2),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], 4 + IMAGE_BYTES),
        ([{"role": "tool", "content": "x", "tool_call_id": "abc"}], 4 + 1 + len('"abc"')),
        ([{"role": "user", "content": [{"type": "file", "file": [1]}]}], 4 + len('"file"[1]')),
        ([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}], 4 + 6 + len('{"file_id": "f"}')),
    ],
)
def test_input_is_counted_in_utf_8_bytes(messages: list[Any], expected: int) -> None:
    """Of text, roles, and whatever else is sent; an image counts the same whatever its bytes."""
    assert parse_chat(body(messages=messages)).input_bytes == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "file", "file": {"file_data": "A" * 400_000}}, 100_000),
        ({"type": "file", "file": {"file_data": "A" * 400}}, IMAGE_BYTES),
        ({"type": "input_audio", "input_audio": {"data": "A" * 4_000_000, "format": "mp3"}}, 10_000),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + "A" * 400_000}}, IMAGE_BYTES),
    ],
)
def test_base64_is_not_counted_as_text(part: dict[str, Any], expected: int) -> None:
    """A document, a sound or a video counts by what vendors charge for one of its size, beside the rest of its part."""
    found = parse_chat(body(messages=[{"role": "user", "content": [part]}])).input_bytes

    assert expected <= found <= expected + 120


def test_tools_and_response_formats_are_input() -> None:
    """They are charged for like text."""
    plain = parse_chat(body()).input_bytes

    request = parse_chat(body(tools=[1, 2], response_format={}, functions=[3], temperature=1))

    assert request.input_bytes == plain + len("[1, 2]") + len("{}") + len("[3]")


def test_the_last_users_text_of_parts_is_joined() -> None:
    """Parts that have no text say nothing."""
    content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}, {"text": "b"}, {}]

    assert parse_chat(body(messages=[{"role": "user", "content": content}])).last_user_text == "a\nb"
    assert parse_chat(body(messages=[{"role": "system", "content": "a"}])).last_user_text == ""
    assert parse_chat(body(messages=[{"role": "user", "content": None}])).last_user_text == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.text(), "content": st.none() | st.text() | st.lists(st.dictionaries(st.text(), JSON, max_size=2))},
        optional={"name": JSON, "x": JSON},
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150)
@given(messages=MESSAGES, extra=st.dictionaries(st.text(), JSON, max_size=3), ascii_only=st.booleans())
def test_what_is_sent_is_what_was_asked(messages: list[Any], extra: dict[str, Any], ascii_only: bool) -> None:
    """But for the model, whatever the fields are."""
    fields = {"x" + key: value for key, value in extra.items()} | {"model": "a", "messages": messages}

    out = sent(json.dumps(fields, ensure_ascii=ascii_only).encode(), "b")

    assert json.loads(out) == {**fields, "model": "b"}


@settings(max_examples=150)
@given(raw=st.binary(max_size=40) | st.text('{}[]":,\\ud8\n0eE-. ', max_size=40).map(str.encode))
@example(raw=b'{"\\ud8')
def test_any_bytes_are_a_request_or_a_400(raw: bytes) -> None:
    """Never another error."""
    assert refused(raw).status == 400
