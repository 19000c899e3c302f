"""How each gateway is configured and started: as its makers recommend for production, with one worker.

arbstr runs with everything on that it has: request log, metrics, JSON log lines, request ids, costs.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from bench import peers
from bench.machine import free_port
from bench.payloads import ANTHROPIC_MODEL, ANTHROPIC_PACED_MODEL, MODEL, PACED_MODEL
from bench.upstream import Upstreams

GUARDED = "arbstr, with keys"


@dataclass(frozen=True, slots=True)
class Door:
    """Where a kind of request goes in: `model` at this port, with these headers."""

    port: int
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is ready to be started. `log_rows` counts its request log, where it keeps one."""

    name: str
    version: str
    command: tuple[str, ...]
    whole: Door
    paced: Door
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    log_rows: Callable[[], int] | None = None
    translated: tuple[Door, Door] | None = None
    """The whole and the paced door to providers of another dialect, where the gateway translates."""


def direct(upstreams: Upstreams) -> tuple[Door, Door]:
    """The doors of the providers themselves: what a gateway adds is measured from here."""
    return Door(upstreams.whole, MODEL), Door(upstreams.paced, PACED_MODEL)


_NGINX_CONF = """\
daemon off; worker_processes 1; pid {work}/proxy.pid; error_log {work}/proxy-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path {work}/proxy-body; proxy_temp_path {work}/proxy-temp;
  upstream whole {{ server 127.0.0.1:{whole_upstream}; keepalive 256; keepalive_requests 1000000000; }}
  upstream paced {{ server 127.0.0.1:{paced_upstream}; keepalive 256; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{
    listen 127.0.0.1:{whole} backlog=4096;
    location / {{ proxy_pass http://whole; }}
  }}
  server {{
    listen 127.0.0.1:{paced} backlog=4096;
    location / {{ proxy_pass http://paced; proxy_buffering off; }}
  }}
}}
"""


def nginx(work: Path, upstreams: Upstreams) -> Gateway:
    """A plain reverse proxy that reads nothing and writes no log: the least that relaying costs."""
    whole, paced = free_port(), free_port()
    conf = work / "nginx.conf"
    conf.write_text(
        _NGINX_CONF.format(
            work=work, whole=whole, paced=paced, whole_upstream=upstreams.whole, paced_upstream=upstreams.paced
        )
    )
    return Gateway(
        name="nginx",
        version=peers.version_of("nginx"),
        command=(peers.program("nginx"), "-e", "stderr", "-c", str(conf), "-p", str(work)),
        whole=Door(whole, MODEL),
        paced=Door(paced, PACED_MODEL),
    )


_ARBSTR_CONF = """\
[server]
listen = "127.0.0.1:{port}"

[store]
url = "sqlite:///{database}"

[logging]
level = "info"
format = "json"
"""

_ARBSTR_PROVIDER = """
[providers.{name}]
kind = "{kind}"
base_url = "http://127.0.0.1:{upstream}/v1"
api_key = "dummy"
models = ["{model}"]
input_rate = {input_rate}
output_rate = {output_rate}
base_fee = 1
"""


_ARBSTR_MONEY = """
[budget]
currency = "sats"
max_cost_per_hour = 100_000_000
max_cost_per_day = 1_000_000_000

[limits]
rpm = 2_000_000_000
tpm = 2_000_000_000
max_parallel = 100_000
"""


def arbstr_with_keys(work: Path, upstreams: Upstreams) -> Gateway:
    """The same with what guards money: a key that is asked for, limits, and budgets of the key and of the gateway."""
    gateway = arbstr(work, upstreams)
    conf, program = work / "arbstr.toml", gateway.command[0]
    conf.write_text(conf.read_text() + _ARBSTR_MONEY)
    create = ("keys", "create", "bench", "--budget-hour", "100000000", "--budget-day", "1000000000", "--json")
    made = subprocess.run(
        [program, *create, "--config", str(conf)],
        check=True,
        capture_output=True,
        text=True,
    )
    headers = {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}
    doors = [replace(door, headers=headers) for door in (gateway.whole, gateway.paced)]
    return replace(gateway, name=GUARDED, whole=doors[0], paced=doors[1], translated=None)


def arbstr(work: Path, upstreams: Upstreams) -> Gateway:
    """Two providers of different prices for each model, so that there is something to decide."""
    port, conf, database = free_port(), work / "arbstr.toml", work / "bench.db"
    text = _ARBSTR_CONF.format(port=port, database=database)
    offers = (
        ("whole", "openai", MODEL, upstreams.whole),
        ("paced", "openai", PACED_MODEL, upstreams.paced),
        ("translated-whole", "anthropic", ANTHROPIC_MODEL, upstreams.anthropic_whole),
        ("translated-paced", "anthropic", ANTHROPIC_PACED_MODEL, upstreams.anthropic_paced),
    )
    for name, kind, model, upstream in offers:
        for label, rate in (("cheap", 10), ("dear", 25)):
            text += _ARBSTR_PROVIDER.format(
                name=f"{label}-{name}",
                kind=kind,
                model=model,
                upstream=upstream,
                input_rate=rate,
                output_rate=rate * 3,
            )
    conf.write_text(text)
    conf.chmod(0o600)

    def log_rows() -> int:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM requests").fetchone()[0])

    return Gateway(
        name="arbstr",
        version=metadata.version("arbstr"),
        command=(str(Path(sys.executable).parent / "arbstr"), "serve", "--config", str(conf)),
        whole=Door(port, MODEL),
        paced=Door(port, PACED_MODEL),
        cwd=work,
        log_rows=log_rows,
        translated=(Door(port, ANTHROPIC_MODEL), Door(port, ANTHROPIC_PACED_MODEL)),
    )


_LITELLM_MODEL = """\
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: dummy
      input_cost_per_token: 0.00000015
      output_cost_per_token: 0.0000006
"""


def litellm(work: Path, upstreams: Upstreams) -> Gateway:
    """One worker, no database, no master key, no debug output, its own price map instead of a download."""
    port, conf = free_port(), work / "litellm.yaml"
    models = ((MODEL, upstreams.whole), (PACED_MODEL, upstreams.paced))
    conf.write_text(
        "model_list:\n"
        + "".join(_LITELLM_MODEL.format(model=model, upstream=upstream) for model, upstream in models)
        + "litellm_settings:\n  telemetry: false\n"
    )
    program = peers.litellm()
    return Gateway(
        name="LiteLLM",
        version=peers.LITELLM,
        command=(str(program), "--config", str(conf), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
        whole=Door(port, MODEL),
        paced=Door(port, PACED_MODEL),
        env={
            "PATH": f"{program.parent}:{os.environ.get('PATH', os.defpath)}",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
        cwd=work,
    )


def portkey(work: Path, upstreams: Upstreams) -> Gateway:
    """The provider is named by request headers, as its documentation shows for hosts of one's own."""
    port, server = free_port(), peers.portkey()

    def door(model: str, upstream: int) -> Door:
        host = f"http://127.0.0.1:{upstream}/v1"
        headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": host, "Authorization": "Bearer dummy"}
        return Door(port, model, headers)

    return Gateway(
        name="Portkey",
        version=peers.PORTKEY,
        command=(peers.program("node"), str(server), f"--port={port}", "--headless"),
        whole=door(MODEL, upstreams.whole),
        paced=door(PACED_MODEL, upstreams.paced),
        env={"NODE_ENV": "production"},
        cwd=server.parent,
    )


Build = Callable[[Path, Upstreams], Gateway]
GATEWAYS: Mapping[str, Build] = {
    "nginx": nginx,
    "arbstr": arbstr,
    "arbstr-keys": arbstr_with_keys,
    "litellm": litellm,
    "portkey": portkey,
}
