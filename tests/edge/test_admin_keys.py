"""/admin/keys over HTTP: what is asked, what is answered, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import quote

import pytest

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.identity import Budgets, secret_hash
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency
from arbstr.domain.routing import PolicyRule
from arbstr.domain.secret import Secret
from arbstr.edge.app import App
from arbstr.edge.context import BodyBudget, Context
from arbstr.policy.guessing import FAILURES
from arbstr.policy.keys import KeyRing
from arbstr.ports import RequestLog, StatsStore
from arbstr.testing import MemoryKeys
from tests.edge.raw import Response, calling, serving
from tests.markdown import rows
from tests.pipeline.rig import Rig
from tests.test_docs import reference, section

RULES = (PolicyRule("cheap"), PolicyRule("code"))
SHOWN = {
    *("id", "name", "standing", "models", "policy", "budget_currency", "rpm", "tpm", "max_parallel"),
    *("budget_hour", "budget_day", "budget_month", "budget_total"),
    *("created_at", "expires_at", "revoked_at", "previous_until"),
}
START = "2027-01-15T08:00:00.000000Z"
"""What the rig's clock says."""


class Admin:
    """The operator of a gateway whose keys are in memory."""

    def __init__(self, *, admin_key: Secret | None = None, bodies: BodyBudget | None = None) -> None:
        self.rig = Rig(settings={"rules": RULES})
        self.keys = MemoryKeys(self.rig.clock)
        self.bodies = bodies or BodyBudget()
        self.app = App(
            Context(
                pipeline=self.rig.pipeline,
                request_log=cast(RequestLog, self.rig.sink),
                stats=cast(StatsStore, self.rig.sink),
                clock=self.rig.clock,
                log=self.rig.log,
                expose_metrics=lambda: (b"", b""),
                started_at=0,
                key_store=self.keys,
                admin_key=admin_key,
                bodies=self.bodies,
            )
        )

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[Any]:
        async with serving(self.app) as server, calling(server) as caller:

            async def ask(method: str, path: str, body: bytes = b"", *headers: str) -> Response:
                lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
                caller.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                return await caller.response(to_head=method == "HEAD")

            yield ask

    async def ask(self, method: str, path: str, body: object = None, *headers: str) -> Response:
        """One request; ``body`` as JSON, but for bytes, which are sent as they are."""
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        async with self.calling() as ask:
            return cast(Response, await ask(method, path, sent, *headers))

    async def created(self, name: str = "team-a", /, **fields: object) -> dict[str, Any]:
        return answered(await self.ask("POST", "/admin/keys", {"name": name, **fields}), status=201)

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [fields for level, said, fields in self.rig.log.lines if (level, said) == ("info", event)]


def answered(response: Response, *, status: int = 200) -> dict[str, Any]:
    assert response.status == status, response.body
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    found = json.loads(response.body)
    assert isinstance(found, dict)
    return found


def refused(response: Response, status: int, param: str | None = None) -> str:
    """The message of a refusal."""
    assert response.status == status, response.body
    error = response.error()
    assert error["param"] == param
    return str(error["message"])


class TestCreate:
    async def test_a_key_that_may_do_everything(self) -> None:
        """It needs a name and nothing else, and its secret is in the answer, this once."""
        admin = Admin()

        created = await admin.created()
        shown = answered(await admin.ask("GET", "/admin/keys/team-a"))

        secret = created.pop("key")
        (key,) = admin.keys.keys.values()
        assert secret.startswith("sk-arbstr-")
        assert secret_hash(secret) == key.hash
        assert created == shown
        assert set(shown) == SHOWN
        assert {name: value for name, value in shown.items() if value is not None} == {
            "id": key.id,
            "name": "team-a",
            "standing": "active",
            "created_at": START,
        }

    async def test_a_key_with_everything(self) -> None:
        """Every restriction can be given at once, and is shown as it was given."""
        admin = Admin()
        given = {
            "models": ["gpt-4o", "claude-*"],
            "policy": "cheap",
            "budget_currency": "usd",
            "budget_hour": 0.25,
            "budget_day": 2,
            "budget_month": 10.1,
            "budget_total": 100,
            "rpm": 60,
            "tpm": 100_000,
            "max_parallel": 4,
        }

        created = await admin.created(**given, expires="30d")

        (key,) = admin.keys.keys.values()
        assert {name: created[name] for name in given} == given
        assert created["expires_at"] == "2027-02-14T08:00:00.000000Z"
        assert key.budgets == Budgets(Currency.USD, 250_000_000, 2 * 10**9, 10_100_000_000, 100 * 10**9)
        assert key.limits == Limits(60, 100_000, 4)

    @pytest.mark.parametrize(
        ("expires", "shown"),
        [
            ("30d", "2027-02-14T08:00:00.000000Z"),
            ("2030-01-31T01:00:00+01:00", "2030-01-31T00:00:00.000000Z"),
            (None, None),
        ],
    )
    async def test_expiry(self, expires: str | None, shown: str | None) -> None:
        """It is a lifetime, an instant, or never."""
        assert (await Admin().created(expires=expires))["expires_at"] == shown

    async def test_amounts_are_exact(self) -> None:
        """A fraction is what was written, not the float that is nearest to it."""
        admin = Admin()

        await admin.ask("POST", "/admin/keys", b'{"name": "a", "budget_day": 123456789.123457}')

        assert admin.keys.keys["key_0000000000000001"].budgets == Budgets(Currency.SATS, day=123_456_789_123_457)

    async def test_a_name_that_is_taken(self) -> None:
        """It is a conflict until its key is revoked; then it is free."""
        admin = Admin()
        await admin.created()

        taken = await admin.ask("POST", "/admin/keys", {"name": "team-a"})
        await admin.ask("DELETE", "/admin/keys/team-a")
        again = await admin.created()

        assert "already" in refused(taken, 409, "name")
        assert again["standing"] == "active"
        assert len(admin.keys.keys) == 2

    async def test_a_name_is_needed(self) -> None:
        """Nobody makes one up."""
        admin = Admin()

        assert "needs a name" in refused(await admin.ask("POST", "/admin/keys", {"rpm": 1}), 400, "name")
        assert admin.keys.keys == {}

    async def test_what_the_log_says(self) -> None:
        """A line names the key, and has nothing of its secret."""
        admin = Admin()

        created = await admin.created()

        (line,) = admin.lines("a key was created")
        assert (line["key"], line["key_id"], line["address"]) == ("team-a", created["id"], "127.0.0.1")
        assert created["key"][10:] not in repr(admin.rig.log.lines)


WRONG = [
    ({"name": None}, "name", "is not a text"),
    ({"name": 5}, "name", "is not a text"),
    ({"name": ""}, "name", "is empty"),
    ({"name": "a/b"}, "name", "without a slash"),
    ({"name": "sk-abc"}, "name", "begins like a secret"),
    ({"name": "a" * 101}, "name", "too long"),
    ({"name": "a", "modles": ["gpt-4o"]}, "modles", 'did you mean "models"?'),
    ({"name": "a", "budgets": {"day": 1}}, "budgets", 'did you mean "budget_'),
    ({"name": "a", "models": []}, "models", "good for nothing"),
    ({"name": "a", "models": [1]}, "models", "is not a list of texts"),
    ({"name": "a", "models": {"gpt-4o": True}}, "models", "is not a list of texts"),
    ({"name": "a", "policy": "chaep"}, "policy", "expected one of cheap, code"),
    ({"name": "a", "policy": 1}, "policy", "expected one of cheap, code"),
    ({"name": "a", "budget_day": -1}, "budget_day", "out of range, expected from 0 to 1000000000"),
    ({"name": "a", "budget_day": 10**9 + 1}, "budget_day", "out of range"),
    ({"name": "a", "budget_day": True}, "budget_day", "is a boolean"),
    ({"name": "a", "budget_day": [1]}, "budget_day", "is a list"),
    ({"name": "a", "budget_day": "NaN"}, "budget_day", "is not a finite number"),
    ({"name": "a", "budget_day": "much"}, "budget_day", "is not a number"),
    ({"name": "a", "budget_day": 1, "budget_currency": "eur"}, "budget_currency", "expected sats or usd"),
    ({"name": "a", "budget_currency": "usd"}, "budget_currency", "no budget that the currency could be of"),
    ({"name": "a", "rpm": 0}, "rpm", "out of range"),
    ({"name": "a", "rpm": 1.5}, "rpm", "is a number, expected a whole number"),
    ({"name": "a", "rpm": 2**31}, "rpm", "out of range"),
    ({"name": "a", "tpm": "many"}, "tpm", "expected a whole number"),
    ({"name": "a", "max_parallel": {}}, "max_parallel", "is a table"),
    ({"name": "a", "expires": 5}, "expires", "is not a text, expected a duration"),
    ({"name": "a", "expires": "soon"}, "expires", "expected a duration"),
    ({"name": "a", "expires": "366d"}, "expires", "expected a duration"),
    ({"name": "a", "expires": "2020-01-01T00:00:00Z"}, "expires", "has passed"),
    ({"name": "a", "expires": "2030-01-01T00:00:00"}, "expires", "time zone"),
]


@pytest.mark.parametrize(("fields", "param", "message"), WRONG, ids=[json.dumps(fields)[:60] for fields, _, _ in WRONG])
async def test_a_wrong_field(fields: dict[str, Any], param: str, message: str) -> None:
    """It is named, with what was expected of it, when a key is made and when it is changed; and nothing is changed."""
    admin = Admin()
    await admin.created("there")
    before = dict(admin.keys.keys)

    creating = await admin.ask("POST", "/admin/keys", fields)
    changing = await admin.ask("PATCH", "/admin/keys/there", {"rpm": 7, **fields})

    assert message in refused(creating, 400, param)
    assert message in refused(changing, 400, param)
    assert admin.keys.keys == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", (), 400, "The body is empty"),
        (b" \n", (), 400, "The body is empty"),
        (b"[]", (), 400, "must be a JSON object, but is an empty list"),
        (b"null", (), 400, "must be a JSON object, but is null"),
        (b"{", (), 400, "not valid JSON"),
        (b'{"name": "\xff"}', (), 400, "not valid JSON"),
        (b'{"name": "\\ud800"}', (), 400, "not valid JSON"),
        (b'{"name": "a", "budget_day": NaN}', (), 400, "not valid JSON"),
        (b'{"name": "a", "budget_day": 1e9999999999999999999}', (), 400, "not valid JSON"),
        (b'{"name": "a", "budget_day": 1e999}', (), 400, "budget_day: 1E+999 is out of range"),
        (b'{"name": "a", "budget_day": 1e-999}', (), 400, "budget_day: 1E-999 is more exact"),
        (b'{"name": "a", "budget_day": 1' + b"0" * 5000 + b"}", (), 400, "not valid JSON"),
        (b'{"name": "a", "rpm": 1' + b"0" * 30 + b"}", (), 400, "rpm: a number of more than 20 digits is out of range"),
        (b'{"name": ' + b"[" * 20_000, (), 400, "nested too deeply"),
        (b"name=a", ("Content-Type: application/x-www-form-urlencoded",), 400, "expected Content-Type"),
        (b"{}", ("Content-Encoding: br",), 400, "Content-Encoding 'br' is not supported"),
        (b"{}", ("Content-Encoding: gzip",), 400, "not valid gzip"),
        (gzip.compress(b'{"name": "a"}')[:-4], ("Content-Encoding: gzip",), 400, "cut short"),
        (b" " * 65_537, (), 413, "larger than 65536 bytes"),
        (gzip.compress(b" " * 65_537), ("Content-Encoding: gzip",), 413, "larger than 65536 bytes"),
    ],
)
async def test_a_body_that_is_not_one(body: bytes, headers: tuple[str, ...], status: int, message: str) -> None:
    """It is refused with what is wrong, nothing is made, and the memory that it took is given back."""
    admin = Admin()

    response = await admin.ask("POST", "/admin/keys", body, *headers)

    assert response.status == status
    assert message in response.error()["message"]
    assert admin.keys.keys == {}
    assert admin.bodies == BodyBudget()


async def test_a_body_without_a_length() -> None:
    """It is read as far as is allowed, and no further."""
    admin = Admin()
    async with serving(admin.app) as server, calling(server) as caller:
        caller.send(b"POST /admin/keys HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        caller.send(b"10001\r\n" + b" " * 0x10001 + b"\r\n0\r\n\r\n")
        response = await caller.response()

    assert response.status == 413
    assert admin.bodies == BodyBudget()


async def test_a_body_of_any_form_of_json() -> None:
    """It may be compressed, and called anything that is JSON."""
    admin = Admin()
    body = gzip.compress(b'{"name": "a"}')

    response = await admin.ask(
        "POST", "/admin/keys", body, "Content-Encoding: gzip", "Content-Type: application/merge-patch+json; charset=x"
    )

    assert answered(response, status=201)["name"] == "a"


async def test_no_memory_for_a_body() -> None:
    """Where the bodies of others fill the memory, it is refused for now."""
    admin = Admin(bodies=BodyBudget(left=10))

    response = await admin.ask("POST", "/admin/keys", {"name": "team-a"})

    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    assert admin.bodies.left == 10


class TestShow:
    async def test_all(self) -> None:
        """The list has every key, the oldest first, with its standing, and no secret and no hash."""
        admin = Admin()
        secrets = [(await admin.created(name, expires="1h"))["key"] for name in ("a", "b")]
        await admin.created("c")
        await admin.ask("DELETE", "/admin/keys/a")
        admin.rig.clock.advance(3600)

        response = await admin.ask("GET", "/admin/keys")

        listed = answered(response)
        assert listed["object"] == "list"
        assert [(key["name"], key["standing"]) for key in listed["data"]] == [
            ("a", "revoked"),
            ("b", "expired"),
            ("c", "active"),
        ]
        assert all(set(key) == SHOWN for key in listed["data"])
        for secret in secrets:
            assert secret.encode() not in response.body
            assert secret_hash(secret).hex().encode() not in response.body

    async def test_none(self) -> None:
        """Without keys the list is empty."""
        assert answered(await Admin().ask("GET", "/admin/keys"))["data"] == []

    async def test_a_query(self) -> None:
        """The list has no parameters, and says so."""
        message = refused(await Admin().ask("GET", "/admin/keys?standing=active"), 400, "standing")

        assert "unknown parameter" in message

    @pytest.mark.parametrize("name", ["team-a", "Team A (Ørsted) 100%", "alice@example.com", "a?b#c&d+e", "rotate"])
    async def test_one(self, name: str) -> None:
        """A key is found by its name, encoded as URLs are, and by its id."""
        admin = Admin()
        created = await admin.created(name)
        del created["key"]

        assert answered(await admin.ask("GET", f"/admin/keys/{quote(name, safe='')}")) == created
        assert answered(await admin.ask("GET", f"/admin/keys/{created['id']}")) == created
        assert (await admin.ask("HEAD", f"/admin/keys/{created['id']}")).status == 200

    async def test_out_of_reach(self) -> None:
        """Where the keys cannot be read, that is said, and when to ask again."""
        admin = Admin()
        admin.keys.refusal = LogUnavailable("The gateway keys are out of reach: locked.", retry_after=1.0)

        response = await admin.ask("GET", "/admin/keys")

        assert response.headers["retry-after"] == "1"
        assert "out of reach" in refused(response, 503)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/keys/nobody"),
        ("PATCH", "/admin/keys/nobody"),
        ("DELETE", "/admin/keys/nobody"),
        ("POST", "/admin/keys/nobody/rotate"),
        ("GET", "/admin/keys/"),
        ("GET", "/admin/keys/team-a/"),
        ("GET", "/admin/keys/team-a/rotate"),
        ("PATCH", "/admin/keys/team-a/x"),
        ("DELETE", "/admin/keys/team-a/x"),
        ("POST", "/admin/keys/team-a"),
        ("POST", "/admin/keys/team-a/renew"),
        ("POST", "/admin/keys/rotate"),
        ("POST", "/admin/keys//rotate"),
        ("POST", "/admin/keys/a/team-a/rotate"),
    ],
)
async def test_nothing_there(method: str, path: str) -> None:
    """What is neither a key nor its rotation is a 404, and nothing is changed."""
    admin = Admin()
    await admin.created()
    before = dict(admin.keys.keys)

    response = await admin.ask(method, path, {})

    assert response.status == 404
    assert response.error()["code"] == "not_found"
    assert admin.keys.keys == before


class TestUpdate:
    async def test_what_is_named_is_changed(self) -> None:
        """The rest stays as it is, and the line in the log says what was changed."""
        admin = Admin()
        created = await admin.created(models=["gpt-4o"], budget_day=10, rpm=5)
        del created["key"]

        changed = answered(await admin.ask("PATCH", "/admin/keys/team-a", {"name": "team-b", "rpm": 6}))

        (line,) = admin.lines("a key was changed")
        assert changed == created | {"name": "team-b", "rpm": 6}
        assert answered(await admin.ask("GET", "/admin/keys/team-b")) == changed
        assert (line["key"], line["key_id"], line["fields"]) == ("team-b", created["id"], ["name", "rpm"])

    async def test_null_takes_a_restriction_away(self) -> None:
        """Of every kind."""
        admin = Admin()
        given = {"models": ["gpt-4o"], "policy": "code", "budget_day": 1, "rpm": 1, "tpm": 1, "max_parallel": 1}
        await admin.created(**given, expires="1d")

        freed = answered(await admin.ask("PATCH", "/admin/keys/team-a", dict.fromkeys([*given, "expires"])))

        assert [freed[name] for name in (*given, "expires_at", "budget_currency")] == [None] * 8

    async def test_nothing_to_change(self) -> None:
        """An empty object changes nothing."""
        admin = Admin()
        created = await admin.created(rpm=5)
        del created["key"]

        assert answered(await admin.ask("PATCH", "/admin/keys/team-a", {})) == created

    async def test_amounts_in_another_currency(self) -> None:
        """They have to be given anew, all at once."""
        admin = Admin()
        await admin.created(budget_day=10, budget_month=100)

        half = await admin.ask("PATCH", "/admin/keys/team-a", {"budget_currency": "usd", "budget_day": 1})
        all_ = {"budget_currency": "usd", "budget_day": 1, "budget_month": None}
        whole = answered(await admin.ask("PATCH", "/admin/keys/team-a", all_))

        assert "budget for the month is in sats" in refused(half, 400, "budget_currency")
        assert (whole["budget_currency"], whole["budget_day"], whole["budget_month"]) == ("usd", 1, None)

    async def test_a_revoked_key(self) -> None:
        """It is beyond change, and says so."""
        admin = Admin()
        await admin.created()
        await admin.ask("DELETE", "/admin/keys/team-a")

        assert "is revoked" in refused(await admin.ask("PATCH", "/admin/keys/team-a", {"rpm": 5}), 409)
        assert "is revoked" in refused(await admin.ask("POST", "/admin/keys/team-a/rotate"), 409)


class TestRevoke:
    async def test_twice(self) -> None:
        """The key is shown as revoked, the second time from the same instant."""
        admin = Admin()
        created = await admin.created()

        first = answered(await admin.ask("DELETE", "/admin/keys/team-a"))
        admin.rig.clock.advance(60)
        second = answered(await admin.ask("DELETE", f"/admin/keys/{created['id']}"))

        assert (first["standing"], first["revoked_at"]) == ("revoked", START)
        assert second == first
        assert admin.lines("a key was revoked")[0]["key_id"] == created["id"]


class TestRotate:
    async def test_at_once(self) -> None:
        """Without a body the old secret is good no longer."""
        admin = Admin()
        created = await admin.created(rpm=5)

        rotated = answered(await admin.ask("POST", "/admin/keys/team-a/rotate"))

        (key,) = admin.keys.keys.values()
        assert rotated.pop("key") != created.pop("key")
        assert rotated == created
        assert key.previous_hash is None

    async def test_with_grace(self) -> None:
        """The old secret is good until the grace is over, which is shown."""
        admin = Admin()
        created = await admin.created("Team A")

        rotated = answered(await admin.ask("POST", "/admin/keys/Team%20A/rotate", {"grace": "1h"}))

        (key,) = admin.keys.keys.values()
        (line,) = admin.lines("a key was given a new secret")
        assert rotated["previous_until"] == "2027-01-15T09:00:00.000000Z"
        assert key.hash == secret_hash(rotated["key"])
        assert key.previous_hash == secret_hash(created["key"])
        assert (line["key"], line["grace_s"]) == ("Team A", 3600)
        assert rotated["key"][10:] not in repr(admin.rig.log.lines)

    @pytest.mark.parametrize("grace", [None, 0, "0s"])
    async def test_no_grace(self, grace: object) -> None:
        """None is none, however it is written."""
        admin = Admin()
        await admin.created()

        assert (
            answered(await admin.ask("POST", "/admin/keys/team-a/rotate", {"grace": grace}))["previous_until"] is None
        )

    @pytest.mark.parametrize(
        ("body", "param", "message"),
        [
            ({"grace": "long"}, "grace", "is not a duration"),
            ({"grace": "-1h"}, "grace", "is negative"),
            ({"grace": "366d"}, "grace", "too long"),
            ({"grace": True}, "grace", "is a boolean"),
            ({"garce": "1h"}, "garce", "expected grace"),
            ([], None, "must be a JSON object"),
        ],
    )
    async def test_a_wrong_body(self, body: object, param: str | None, message: str) -> None:
        """It is refused, and the secret stays."""
        admin = Admin()
        await admin.created()
        before = dict(admin.keys.keys)

        assert message in refused(await admin.ask("POST", "/admin/keys/team-a/rotate", body), 400, param)
        assert admin.keys.keys == before


async def test_the_reference_names_every_field() -> None:
    """What a new key is answered with is the table of docs/reference/http.md."""
    table = rows(section(reference("http.md"), "/admin/keys"))
    documented = {name for row in table[1:] for name in re.findall(r"`(\w+)`", row[0])}

    assert documented == set(await Admin().created())


class TestWhoMay:
    ROUTES = (
        ("GET", "/admin/keys"),
        ("POST", "/admin/keys"),
        ("GET", "/admin/keys/team-a"),
        ("PATCH", "/admin/keys/team-a"),
        ("DELETE", "/admin/keys/team-a"),
        ("POST", "/admin/keys/team-a/rotate"),
    )

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize("header", ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"])
    async def test_a_page_of_another_origin(self, method: str, path: str, header: str) -> None:
        """Without an admin key it is refused whatever it asks for, and nothing is changed."""
        admin = Admin()
        await admin.created()
        before = dict(admin.keys.keys)

        response = await admin.ask(method, path, {"name": "evil"}, header)

        assert response.error()["code"] == "forbidden_origin"
        assert response.status == 403
        assert admin.keys.keys == before

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_from_elsewhere(self, method: str, path: str) -> None:
        """Without an admin key, what came through a proxy is not the operator's."""
        admin = Admin()
        await admin.created()
        before = dict(admin.keys.keys)

        response = await admin.ask(method, path, {"name": "evil"}, "X-Forwarded-For: 203.0.113.7")

        assert response.error()["code"] == "admin_only"
        assert response.status == 403
        assert admin.keys.keys == before

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize("header", ["X-Nothing: 1", "Authorization: Bearer wrong", "X-Admin-Key: wrong"])
    async def test_the_admin_key(self, method: str, path: str, header: str) -> None:
        """Where one is set, nobody does without it, this machine included."""
        admin = Admin(admin_key=Secret("the-admin-key"))
        await admin.ask("POST", "/admin/keys", {"name": "team-a"}, "X-Admin-Key: the-admin-key")
        before = dict(admin.keys.keys)

        response = await admin.ask(method, path, {"name": "evil"}, header)

        assert len(before) == 1
        assert response.status == 401
        assert admin.keys.keys == before

    @pytest.mark.parametrize(
        "header", ["Authorization: Bearer the-admin-key", "X-Admin-Key: the-admin-key", "X-Api-Key: the-admin-key"]
    )
    async def test_with_the_admin_key(self, header: str) -> None:
        """It is taken from everywhere, in any of its headers."""
        admin = Admin(admin_key=Secret("the-admin-key"))

        response = await admin.ask(
            "GET", "/admin/keys", None, header, "X-Forwarded-For: 203.0.113.7", "Origin: https://ops.example"
        )

        assert answered(response)["data"] == []

    async def test_a_gateway_key(self) -> None:
        """It is no admin key."""
        admin = Admin(admin_key=Secret("the-admin-key"))
        response = await admin.ask("POST", "/admin/keys", {"name": "team-a"}, "X-Admin-Key: the-admin-key")
        secret = answered(response, status=201)["key"]

        assert (await admin.ask("GET", "/admin/keys", None, f"Authorization: Bearer {secret}")).status == 401

    @pytest.mark.parametrize("path", ["/admin/keys", "/v1/budget", "/v1/providers", "/metrics", "/v1/models"])
    async def test_guesses_are_counted_wherever_it_counts(self, path: str) -> None:
        """Thirty wrong ones a minute from one address are refused as such; then it is told to stop."""
        admin = Admin(admin_key=Secret("the-admin-key"))
        admin.rig.state.keys = KeyRing((), exists=True)

        async with admin.calling() as ask:
            statuses = [
                (await ask("GET", path, b"", f"X-Admin-Key: guess-{nth}", "X-Forwarded-For: 203.0.113.7")).status
                for nth in range(FAILURES + 1)
            ]

        assert statuses == [401] * FAILURES + [429]
