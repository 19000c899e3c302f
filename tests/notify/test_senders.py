"""From what is configured to those who are told, all of them at once; and what of it is secret."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from arbstr.domain.alert import AlertCounts
from arbstr.notify.apprise import Apprise
from arbstr.notify.dispatcher import Dispatcher
from arbstr.notify.email import Email
from arbstr.notify.senders import senders
from arbstr.notify.slack import Slack
from arbstr.notify.webhook import Webhook
from arbstr.testing import FakeClock, ListLog
from arbstr.upstream.pool import Pool
from arbstr.upstream.post import PoolPost
from arbstr.upstream.redact import Redactor
from tests.config.written import compiled
from tests.notify.news import opened
from tests.notify.receivers import hook, login_of, mail_server
from tests.upstream.servers import eventually

CONFIG = """
[[alerts]]
type = "webhook"
url = "{base}/hook?token={canary}-hook"
secret = "{canary}-secret"
[[alerts]]
type = "slack"
url = "{base}/services/{canary}-slack"
[[alerts]]
type = "email"
host = "127.0.0.1"
port = {port}
from = "arbstr@example.com"
to = "ops@example.com"
starttls = false
username = "arbstr"
password = "{canary}-password"
[[alerts]]
type = "apprise"
url = "{json}/{canary}-apprise"
"""


def canary() -> str:
    """A new secret. Its first characters may be shown, so they tell nothing."""
    return f"sk-aaa-{secrets.token_hex(12)}"


async def test_each_type_has_its_sender(tmp_path: Path) -> None:
    """In the order of the configuration, by the name of the place."""
    text = CONFIG.format(base="http://127.0.0.1:9", json="json://127.0.0.1:9", port=25, canary=canary())
    targets = compiled(tmp_path, text).alerts

    made = senders(targets, post=PoolPost(Pool()), clock=FakeClock())

    assert [type(sender) for sender in made] == [Webhook, Slack, Email, Apprise]
    assert [sender.name for sender in made] == ["alerts[0]", "alerts[1]", "alerts[2]", "alerts[3]"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Requiring AUTH")
async def test_everybody_is_told(tmp_path: Path) -> None:
    """One alert, four real receivers."""
    key = canary()
    with mail_server(authenticator=login_of("arbstr", f"{key}-password"), auth_require_tls=False) as mail:
        async with hook() as (receiver, post):
            base = receiver.base
            text = CONFIG.format(base=base, json=base.replace("http:", "json:"), port=mail.port, canary=key)
            targets = compiled(tmp_path, text).alerts
            made = senders(targets, post=post, clock=FakeClock())
            dispatcher = Dispatcher(made, clock=FakeClock(), log=ListLog(), redact=str)
            dispatcher.start()
            dispatcher.raise_alert(opened())
            await eventually(lambda: dispatcher.counts().waiting == 0)
            await dispatcher.aclose(0)

    assert dispatcher.counts() == AlertCounts(sent=4, failed=0, dropped=0, waiting=0)
    assert [each.login for each in mail.mails] == ["arbstr"]
    assert sorted(posted.target for posted in receiver.posted) == [
        f"/hook?token={key}-hook",
        f"/services/{key}-slack",
        f"/{key}-apprise",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_no_secret_is_in_any_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails, and whatever the other side says: not in our lines, not in libraries', not in any repr."""
    key = canary()
    with mail_server(refusals={"ops@example.com": f"550 no {key}-password"}) as mail:
        async with hook(*[f"500 {key}-secret".encode()] * 100) as (receiver, post):
            base = receiver.base
            text = CONFIG.format(base=base, json=base.replace("http:", "json:"), port=mail.port, canary=key)
            config = compiled(tmp_path, text)
            redact = Redactor(config.secrets)
            made = senders(config.alerts, post=post, clock=FakeClock())
            log = ListLog()
            dispatcher = Dispatcher(made, clock=FakeClock(), log=log, redact=redact, rng=random.Random(1))
            dispatcher.start()
            dispatcher.raise_alert(opened(error=f"it said {key}-password and {key}-slack"))
            await eventually(lambda: dispatcher.counts().waiting == 0)
            await dispatcher.aclose(0)

    said = [repr(log.lines), repr(config), repr(made), repr(dispatcher)]
    said += [redact(record.getMessage()) for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    sent = b"".join(posted.body for posted in receiver.posted).decode()
    assert dispatcher.counts().failed == 4
    assert len(log.lines) >= 4
    assert [text for text in [*said, sent] if key[7:] in text] == []
