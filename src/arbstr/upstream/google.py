"""Access tokens for Google Cloud by google-auth: environment, ``gcloud``'s files, metadata server. Never on the event
loop.

google-auth reads files and asks servers, and takes its time; a token that it holds is valid until four minutes before
its end. So it is asked again every minute, by a thread, while requests go on with what it said before.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.secret import Secret
from arbstr.upstream.tokens import Token

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

FRESH = 60.0
"""Seconds for which a token is used without asking again."""
USABLE = 180.0
"""Seconds after which it may have expired, and is not used before it was asked for again."""

PATIENCE = 10.0
"""Seconds that Google's servers have for one answer."""


class Credentials(Protocol):
    """What google-auth has found. ``refresh`` blocks."""

    valid: bool
    token: str | None

    def refresh(self, request: Any) -> None: ...


Source = tuple[Credentials, Any]
"""Credentials, and the transport with which they refresh themselves."""


def default_credentials() -> Source:
    """Whatever google-auth finds. Blocks.

    Raises UpstreamFailure where google-auth is not installed, and its own errors where it finds nothing.
    """
    try:
        auth = importlib.import_module("google.auth")
        transport = importlib.import_module("google.auth.transport.requests")
    except ImportError as error:
        raise UpstreamFailure(
            FailureKind.KEY_REFUSED, "Vertex AI needs google-auth: install arbstr with its extra `google`."
        ) from error
    request = partial(transport.Request(), timeout=PATIENCE)
    credentials, _ = auth.default(scopes=[SCOPE], request=request)
    return credentials, request


class GoogleTokens:
    """Tokens of one provider. :meth:`fetch` is not to be called again before it has returned."""

    def __init__(self, *, find: Callable[[], Source] = default_credentials) -> None:
        self._find = find
        self._source: Source | None = None

    async def fetch(self) -> Token:
        """Raises UpstreamFailure (KEY_REFUSED)."""
        try:
            token = await asyncio.to_thread(self._read)
        except UpstreamFailure:
            raise
        except Exception as error:  # google-auth's errors, and those of its transports and plugins
            raise UpstreamFailure(
                FailureKind.KEY_REFUSED, f"Google's credentials cannot be used ({type(error).__name__})."
            ) from error
        if not token:
            raise UpstreamFailure(FailureKind.KEY_REFUSED, "Google's credentials gave no token.")
        return Token(Secret(token), fresh=FRESH, usable=USABLE)

    def _read(self) -> str | None:
        """In a thread."""
        if self._source is None:
            self._source = self._find()
        credentials, request = self._source
        if not credentials.valid:
            credentials.refresh(request)
        return credentials.token
