"""AWS Signature Version 4, as a function of the credentials, the request and the instant.

From "Create a signed AWS API request" in the IAM user guide. The tests compare it with botocore's, which is not needed
to run.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from urllib.parse import quote

import msgspec

from arbstr.domain.secret import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"


class AwsCredentials(msgspec.Struct, frozen=True):
    """What a request is signed with. ``token`` is there where the credentials are temporary."""

    access_key: str
    secret_key: Secret
    token: Secret | None = None


def sign(
    credentials: AwsCredentials,
    *,
    method: str,
    host: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    region: str,
    service: str,
    now: datetime.datetime,
) -> dict[str, str]:
    """The headers to add: ``x-amz-date``, ``authorization``, and with temporary credentials ``x-amz-security-token``.

    ``host`` as in the Host header; ``path`` as it is sent, percent-encoded, with its query if it has one; ``headers``
    are those to be signed beside these, names in lower case; ``now`` is aware. What is not given can be changed on the
    way without anybody noticing.
    """
    stamp = now.astimezone(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": stamp}
    if credentials.token is not None:
        added["x-amz-security-token"] = credentials.token.reveal()
    signed = dict(sorted({**headers, **added, "host": host}.items()))
    names = ";".join(signed)
    path, _, query = path.partition("?")
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/~"),  # encoded once more than it is sent, as all services but S3 want it
            _query(query),
            *(f"{name}:{' '.join(value.split())}" for name, value in signed.items()),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key.reveal()}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    signature = _hmac(key, to_sign).hex()
    added["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return added


def _query(query: str) -> str:
    """The parameters in order; each is percent-encoded already."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
