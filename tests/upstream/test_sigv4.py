"""Requests are signed as AWS wants it: its own SDK signs them alike."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.bedrock import path
from arbstr.domain.secret import Secret
from arbstr.upstream.sigv4 import AwsCredentials, sign

NOW = datetime.datetime(2026, 11, 20, 19, 5, 9, tzinfo=datetime.UTC)
KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def signed(
    *, target: str, body: bytes, headers: dict[str, str], now: datetime.datetime, token: str | None = None
) -> dict[str, str]:
    credentials = AwsCredentials("AKIDEXAMPLE", Secret(KEY), Secret(token) if token else None)
    return sign(
        credentials,
        method="POST",
        host="bedrock-runtime.us-east-1.amazonaws.com",
        path=target,
        headers=headers,
        body=body,
        region="us-east-1",
        service="bedrock",
        now=now,
    )


def botocore_signed(*, target: str, body: bytes, headers: dict[str, str], token: str | None) -> Mapping[str, str]:
    """The headers that botocore adds, at the instant of its own clock."""
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com{target}"
    request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
    SigV4Auth(Credentials("AKIDEXAMPLE", KEY, token), "bedrock", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def instant(headers: Mapping[str, str]) -> datetime.datetime:
    return datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)


MODELS = st.one_of(
    st.just("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    st.just("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12"),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
)


@given(model=MODELS, stream=st.booleans(), body=st.binary(max_size=300), token=st.sampled_from([None, "tok/en+="]))
def test_as_botocore(model: str, stream: bool, body: bytes, token: str | None) -> None:
    """For the same request at the same instant the headers are the same, whatever the model is called."""
    headers = {"content-type": "application/json", "x-amzn-bedrock-note": "  two   spaces "}

    theirs = botocore_signed(target=path(model, stream), body=body, headers=headers, token=token)

    ours = signed(target=path(model, stream), body=body, headers=headers, now=instant(theirs), token=token)

    assert ours == {name: theirs[name] for name in ours}
    assert ours.keys() == {"x-amz-date", "authorization"} | ({"x-amz-security-token"} if token else set())


@pytest.mark.parametrize("query", ["?b=2&a=1", "?a=2&a=1&empty=", "?flag", "?type=a%3Ab"])
def test_queries_as_botocore(query: str) -> None:
    """Parameters are signed in order, as the list of models asks with some."""
    target = f"/foundation-models{query}"

    theirs = botocore_signed(target=target, body=b"", headers={}, token=None)

    ours = signed(target=target, body=b"", headers={}, now=instant(theirs))

    assert ours["authorization"] == theirs["authorization"]


def test_other_zones() -> None:
    """An instant is signed as UTC, whatever its zone."""
    tokyo = NOW.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
    credentials = AwsCredentials("AKIDEXAMPLE", Secret(KEY))

    found = sign(
        credentials, method="POST", host="h", path="/", headers={}, body=b"", region="r", service="s", now=tokyo
    )

    assert found["x-amz-date"] == "20261120T190509Z"


def test_secrets_are_masked() -> None:
    """Credentials show neither their key nor their token."""
    credentials = AwsCredentials("AKIDEXAMPLE", Secret(KEY), Secret("a-long-session-token"))

    assert KEY not in repr(credentials)
    assert "session-token" not in repr(credentials)
