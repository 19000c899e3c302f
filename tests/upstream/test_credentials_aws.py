"""AWS credentials are found by botocore's chain, off the event loop, and kept fresh."""

from __future__ import annotations

import asyncio
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.secret import Secret
from arbstr.testing import FakeClock
from arbstr.upstream.credentials_aws import CredentialChain, Found, botocore_chain

Frozen = namedtuple("Frozen", ["access_key", "secret_key", "token"])


class Source:
    """Credentials that are others each time; a gate holds them back."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def get_frozen_credentials(self) -> Frozen:
        self.gate.wait(10)
        self.threads.append(threading.get_ident())
        if self.error is not None:
            raise self.error
        return Frozen(f"AKID{len(self.threads)}", "secret", None)


def chain_of(find: Callable[[], Found | None], clock: FakeClock | None = None) -> CredentialChain:
    return CredentialChain(clock or FakeClock(), learn=lambda *secrets: None, find=find)


async def test_one_question_for_all() -> None:
    """Those who ask at the same time are answered by one question, asked in a thread."""
    source = Source()
    chain = chain_of(lambda: source)

    found = await asyncio.gather(*(chain.get() for _ in range(20)))

    assert {one.access_key for one in found} == {"AKID1"}
    assert len(source.threads) == 1
    assert source.threads[0] != threading.get_ident()


async def test_refresh_beside_requests() -> None:
    """After a minute they are asked for again, while requests go on with what there is; after ten they wait."""
    clock, source = FakeClock(), Source()
    chain = chain_of(lambda: source, clock)
    await chain.get()

    clock.advance(59)
    assert (await chain.get()).access_key == "AKID1"
    assert len(source.threads) == 1
    clock.advance(2)
    source.gate.clear()
    assert (await chain.get()).access_key == "AKID1"
    source.gate.set()
    async with asyncio.timeout(10):
        while (await chain.get()).access_key != "AKID2":
            await asyncio.sleep(0.001)
    clock.advance(601)
    assert (await chain.get()).access_key == "AKID3"


async def test_failed_refresh() -> None:
    """Where they cannot be refreshed, the old ones serve as long as they may; then requests fail, until it works."""
    clock, source = FakeClock(), Source()
    chain = chain_of(lambda: source, clock)
    await chain.get()
    source.error = RuntimeError("secret in a message")

    clock.advance(61)
    assert (await chain.get()).access_key == "AKID1"
    clock.advance(600)
    with pytest.raises(UpstreamFailure) as failed:
        await chain.get()
    source.error = None

    assert failed.value.kind is FailureKind.KEY_REFUSED
    assert failed.value.message == "AWS credentials cannot be read (RuntimeError)."
    assert (await chain.get()).access_key not in ("", "AKID1")


async def test_cancelled_question() -> None:
    """Who leaves takes nobody's credentials away."""
    source = Source()
    source.gate.clear()
    chain = chain_of(lambda: source)
    leaving, staying = asyncio.create_task(chain.get()), asyncio.create_task(chain.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    leaving.cancel()
    source.gate.set()

    assert (await staying).access_key == "AKID1"
    assert leaving.cancelled()


async def test_what_is_secret_is_learned_before_it_is_used() -> None:
    """The key, and the session token where there is one, each time they were asked for."""

    clock, learned = FakeClock(), list[tuple[Secret, ...]]()
    frozen = [Frozen("AKID1", "secret-1", "token-1"), Frozen("AKID2", "secret-2", None)]
    source = SimpleNamespace(get_frozen_credentials=lambda: frozen.pop(0))
    chain = CredentialChain(clock, learn=lambda *secrets: learned.append(secrets), find=lambda: source)

    await chain.get()
    clock.advance(601)
    await chain.get()

    assert [[secret.reveal() for secret in each] for each in learned] == [["secret-1", "token-1"], ["secret-2"]]


async def test_none_found() -> None:
    """No credentials are the key's failure, and are looked for again."""
    found = [None, Source()]
    chain = chain_of(lambda: found.pop(0))

    with pytest.raises(UpstreamFailure, match="No AWS credentials were found") as failed:
        await chain.get()

    assert failed.value.kind is FailureKind.KEY_REFUSED
    assert (await chain.get()).access_key == "AKID1"


async def test_botocore_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment and profile are looked at by botocore's own rules."""
    (tmp_path / "credentials").write_text(
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s1\naws_session_token = t1\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s2")

    by_environment = await chain_of(botocore_chain).get()
    by_profile = await chain_of(lambda: botocore_chain("work")).get()

    assert (by_environment.access_key, by_environment.secret_key.reveal(), by_environment.token) == (
        "AKIDENV",
        "s2",
        None,
    )
    assert by_profile.access_key == "AKIDWORK"
    assert by_profile.token is not None
    assert by_profile.token.reveal() == "t1"


async def test_unknown_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is not there is said in our words."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(UpstreamFailure, match="cannot be read \\(ProfileNotFound\\)"):
        await chain_of(lambda: botocore_chain("nobody")).get()
