"""Requests to AWS, signed with whatever credentials the machine has."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from arbstr.upstream.credentials_aws import CredentialChain
from arbstr.upstream.origin import Origin
from arbstr.upstream.sigv4 import sign

SERVICE = "bedrock"


class AwsSigner:
    """Implements :class:`~arbstr.upstream.http.Signer` by SigV4."""

    def __init__(self, *, base_url: str, region: str, credentials: CredentialChain) -> None:
        origin, _ = Origin.parse(base_url)
        self._host = origin.authority
        self._region = region
        self._credentials = credentials

    def at(self, base_url: str) -> AwsSigner:
        """The same for another host."""
        return AwsSigner(base_url=base_url, region=self._region, credentials=self._credentials)

    def refused(self) -> None:
        """The chain refreshes itself; what it gives is what there is."""

    async def sign(self, path: str, body: bytes, *, method: str = "POST") -> Sequence[str]:
        found = await self._credentials.get()
        headers = sign(
            found,
            method=method,
            host=self._host,
            path=path,
            headers={"content-type": "application/json"} if method == "POST" else {},
            body=body,
            region=self._region,
            service=SERVICE,
            now=datetime.datetime.now(datetime.UTC),
        )
        return [f"{name}: {value}" for name, value in headers.items()]
