"""Somebody who reads the request log over HTTP, and a log that answers as it is told and remembers the questions."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlencode

import msgspec

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.identity import Key, secret_hash
from arbstr.domain.routing import PolicyRule
from arbstr.domain.statistics import Bucket, Figures, Filter, Group, Point, Saved, Savings, Sort, Statistics
from arbstr.edge.app import App
from arbstr.edge.context import Context
from arbstr.policy.keys import KeyRing
from arbstr.ports import Page, RequestLog
from arbstr.testing import MemoryKeys
from tests.edge.raw import Response, calling, serving
from tests.pipeline.rig import Rig

NOW = 1_800_000_000.0
"""What the rig's clock says: 2027-01-15T08:00:00Z."""
DAY = 86_400.0
WEEK = {"since": NOW - 7 * DAY, "until": NOW}

SECRETS = {"team-a": "sk-arbstr-a", "team-b": "sk-arbstr-b"}
TEAM_A = Key("key_a", "team-a", secret_hash(SECRETS["team-a"]), 1.0)
TEAM_B = Key("key_b", "team-b", secret_hash(SECRETS["team-b"]), 2.0, models=("none-of-them",))
OLD_B = Key("key_old", "team-b", secret_hash("old"), 0.5, revoked_at=1.5)


class ToldLog:
    """Implements RequestLog, as far as it is read, and StatsStore. ``asked`` has each question."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Any = None
        self.known: list[Filter] = []
        """What has been seen."""
        self.broken = False

    async def seen(self, which: Filter) -> bool:
        return which in self.known

    async def stats(self, which: Filter, *, group_by: Group | None = None) -> Statistics:
        return cast(Statistics, self._told(which, group_by, default=Statistics(Figures())))

    async def series(self, which: Filter, *, bucket: Bucket) -> list[Point]:
        return cast(list[Point], self._told(which, bucket, default=[]))

    async def savings(self, which: Filter, *, by: Group | None = None) -> Savings:
        return cast(Savings, self._told(which, by, default=Savings(Saved())))

    async def page(
        self,
        which: Filter,
        *,
        page: int = 1,
        per_page: int,
        sort: Sort = Sort.TIMESTAMP,
        descending: bool = True,
        cursor: str | None = None,
    ) -> Page:
        return cast(Page, self._told(which, page, per_page, sort, descending, cursor, default=Page([], 0)))

    async def find(self, request_id: str, *, key_id: str | None = None) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", self._told(request_id, key_id, default=None))

    def _told(self, *question: Any, default: Any) -> Any:
        if self.broken:
            raise LogUnavailable("the log did not answer in time", retry_after=1.0)
        self.asked.append(question)
        return default if self.answer is None else self.answer


class Asker:
    """A gateway with a :class:`ToldLog`, and who asks it."""

    def __init__(self, *, keys: Sequence[Key] = (), **settings: Any) -> None:
        self.rig = Rig(settings={"rules": (PolicyRule("frugal"),), **settings})
        self.rig.state.keys = KeyRing(keys)
        self.log = ToldLog()
        self.key: Key | None = None
        self.app = App(
            Context(
                pipeline=self.rig.pipeline,
                request_log=cast(RequestLog, self.log),
                stats=self.log,
                clock=self.rig.clock,
                log=self.rig.log,
                expose_metrics=lambda: (b"", b""),
                started_at=0,
                key_store=MemoryKeys(self.rig.clock),
            )
        )

    def holding(self, key: Key) -> Asker:
        """The same, asked by who has that key."""
        asker = copy.copy(self)
        asker.key = key
        return asker

    async def get(self, path: str, /, **parameters: str) -> Response:
        """One GET."""
        return await self.raw(path, urlencode(parameters))

    async def raw(self, path: str, query: str) -> Response:
        """One GET with a query string as it is."""
        lines = [f"GET {path}{'?' if query else ''}{query} HTTP/1.1", "Host: localhost"]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {SECRETS[self.key.name]}")
        async with serving(self.app) as server, calling(server, read_limit=2**20) as caller:
            caller.send("\r\n".join(lines).encode() + b"\r\n\r\n")
            return await caller.response()

    async def ask(self, path: str, /, **parameters: str) -> dict[str, Any]:
        """What a GET answers, which is 200."""
        response = await self.get(path, **parameters)
        assert response.status == 200, response.body
        answer = json.loads(response.body)
        assert isinstance(answer, dict)
        return answer

    async def which(self, path: str, /, **parameters: str) -> dict[str, Any]:
        """The filter that the log was asked with: what of it is set."""
        await self.ask(path, **parameters)
        which = self.log.asked[-1][0]
        return {name: value for name, value in msgspec.structs.asdict(which).items() if value is not None}


def refused(response: Response, status: int, param: str | None) -> str:
    """The message of a refusal."""
    error = response.error()
    assert (response.status, error["param"]) == (status, param), error
    assert len(response.body) < 1000
    return str(error["message"])
