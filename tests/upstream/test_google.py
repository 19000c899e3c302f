"""Access tokens for Google Cloud come from google-auth, off the event loop."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.upstream.google import FRESH, USABLE, GoogleTokens


class Fake:
    """Credentials that have to be refreshed when a test says so."""

    def __init__(self, *, token: str | None = None, error: Exception | None = None) -> None:
        self.valid = False
        self.token: str | None = None
        self.given = token
        self.error = error
        self.requests: list[Any] = []
        self.threads: list[int] = []

    def refresh(self, request: Any) -> None:
        self.requests.append(request)
        self.threads.append(threading.get_ident())
        if self.error is not None:
            raise self.error
        self.token, self.valid = self.given, True


async def test_credentials_are_refreshed_only_when_they_must_be() -> None:
    """In a thread, with the transport that came with them; they are looked for once."""
    fake, found = Fake(token="ya29.one"), list[str]()

    def find() -> tuple[Fake, str]:
        found.append("x")
        return fake, "transport"

    tokens = GoogleTokens(find=find)

    first = await tokens.fetch()
    again = await tokens.fetch()
    fake.valid, fake.given = False, "ya29.two"
    renewed = await tokens.fetch()

    assert (first.secret.reveal(), first.fresh, first.usable) == ("ya29.one", FRESH, USABLE)
    assert again == first
    assert renewed.secret.reveal() == "ya29.two"
    assert fake.requests == ["transport", "transport"]
    assert threading.get_ident() not in fake.threads
    assert found == ["x"]


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (Fake(error=RuntimeError("secret")), "Google's credentials cannot be used (RuntimeError)."),
        (Fake(token=None), "Google's credentials gave no token."),
    ],
)
async def test_credentials_that_do_not_work_are_the_keys_failure(fake: Fake, message: str) -> None:
    """Told without what the error says, which may quote them."""
    with pytest.raises(UpstreamFailure) as refused:
        await GoogleTokens(find=lambda: (fake, None)).fetch()

    assert (refused.value.kind, refused.value.message) == (FailureKind.KEY_REFUSED, message)
