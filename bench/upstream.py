"""The two providers behind every gateway: nginx for whole answers, `paced_upstream` for streams."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import payloads
from bench.machine import Cores, free_port, start, wait_for_port
from bench.peers import ROOT, program

_MOCK_CONF = """\
daemon off; worker_processes 1; pid {work}/mock.pid; error_log {work}/mock-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path {work}/mock-body;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{answer}'; }}
  }}
  server {{
    listen 127.0.0.1:{anthropic_port} backlog=4096;
    location / {{ default_type application/json; return 200 '{anthropic_answer}'; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """The shape of the streams: how many at once, how many chunks each, one every so many milliseconds."""

    streams: int
    chunks: int
    interval_ms: int = 10


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The ports of the providers."""

    whole: int
    paced: int
    anthropic_whole: int
    anthropic_paced: int


def start_upstreams(stack: ExitStack, cores: Cores, work: Path, pace: Pace) -> Upstreams:
    """Start both; they end with the stack."""
    ports = Upstreams(free_port(), free_port(), free_port(), free_port())
    conf = work / "mock.conf"
    text = _MOCK_CONF.format(
        work=work,
        port=ports.whole,
        answer=payloads.whole_answer().decode(),
        anthropic_port=ports.anthropic_whole,
        anthropic_answer=payloads.anthropic_answer().decode(),
    )
    conf.write_text(text)
    mock = stack.enter_context(
        start([program("nginx"), "-e", "stderr", "-c", conf, "-p", work], core=cores.upstream, log=work / "mock.log")
    )
    wait_for_port(ports.whole, mock)
    for dialect, port in (("openai", ports.paced), ("anthropic", ports.anthropic_paced)):
        shape = [dialect, str(port), str(pace.chunks), str(pace.interval_ms), str(pace.streams)]
        command = [sys.executable, "-m", "bench.paced_upstream", *shape]
        log = work / f"paced-{dialect}.log"
        wait_for_port(port, stack.enter_context(start(command, core=cores.upstream, log=log, cwd=ROOT)))
    return ports
