"""AWS credentials by botocore's chain: environment, profile, role, container, instance. Never on the event loop.

botocore reads files and asks metadata services, and takes its time; it refreshes temporary credentials by itself, from
fifteen minutes before they expire. So it is asked again every minute, by a thread, while requests go on with what was
found before.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.secret import Secret
from arbstr.ports import Clock
from arbstr.upstream.sigv4 import AwsCredentials

FRESH = 60.0
"""Seconds for which what was found is used without asking again."""
USABLE = 600.0
"""Seconds after which it may have expired, and is not used before it was asked for again."""


class Found(Protocol):
    """What botocore's chain has found. Blocks, and refreshes itself."""

    def get_frozen_credentials(self) -> Any: ...


def botocore_chain(profile: str | None = None) -> Found | None:
    """Whatever botocore finds; ``profile`` as in AWS's own files. Blocks.

    Raises UpstreamFailure where botocore is not installed, and botocore's errors where its configuration is broken.
    """
    try:
        session = importlib.import_module("botocore.session")
    except ImportError as error:
        raise UpstreamFailure(
            FailureKind.KEY_REFUSED, "AWS credentials need botocore: install arbstr with its extra `bedrock`."
        ) from error
    found: Found | None = session.Session(profile=profile).get_credentials()
    return found


class CredentialChain:
    """The credentials of one provider, as they are now. ``learn`` hears of what of them is secret, so that it can be
    masked."""

    def __init__(
        self, clock: Clock, *, learn: Callable[..., None], find: Callable[[], Found | None] = botocore_chain
    ) -> None:
        self._clock = clock
        self._learn = learn
        self._find = find
        self._source: Found | None = None
        self._current: AwsCredentials | None = None
        self._since = 0.0
        self._asking: asyncio.Task[AwsCredentials] | None = None

    async def get(self) -> AwsCredentials:
        """Raises UpstreamFailure (KEY_REFUSED) where there are none. Cancelling it is safe."""
        age = self._clock.monotonic() - self._since
        if self._current is not None and age < FRESH:
            return self._current
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        if self._current is not None and age < USABLE:
            return self._current
        return await asyncio.shield(self._asking)

    async def _ask(self) -> AwsCredentials:
        try:
            found = await asyncio.to_thread(self._read)
        except UpstreamFailure:
            raise
        except Exception as error:  # botocore's errors have no common root, and its plugins raise what they like
            raise UpstreamFailure(
                FailureKind.KEY_REFUSED, f"AWS credentials cannot be read ({type(error).__name__})."
            ) from error
        self._learn(found.secret_key, *(() if found.token is None else (found.token,)))
        self._current, self._since = found, self._clock.monotonic()
        return found

    def _asked(self, task: asyncio.Task[AwsCredentials]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # seen; whoever needs the credentials asks again

    def _read(self) -> AwsCredentials:
        """In a thread: no other touches ``_source``, for only one asks at a time."""
        if self._source is None:
            self._source = self._find()
        if self._source is None:
            raise UpstreamFailure(FailureKind.KEY_REFUSED, "No AWS credentials were found.")
        frozen = self._source.get_frozen_credentials()
        return AwsCredentials(
            frozen.access_key, Secret(frozen.secret_key), Secret(frozen.token) if frozen.token else None
        )
