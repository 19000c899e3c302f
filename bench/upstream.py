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


def start_upstreams(stack: ExitStack, cores: Cores, work: Path, pace: Pace) -> Upstreams:
    """Start both; they end with the stack."""
    ports = Upstreams(whole=free_port(), paced=free_port())
    conf = work / "mock.conf"
    conf.write_text(_MOCK_CONF.format(work=work, port=ports.whole, answer=payloads.whole_answer().decode()))
    mock = stack.enter_context(
        start([program("nginx"), "-e", "stderr", "-c", conf, "-p", work], core=cores.upstream, log=work / "mock.log")
    )
    shape = [str(ports.paced), str(pace.chunks), str(pace.interval_ms), str(pace.streams)]
    paced = stack.enter_context(
        start(
            [sys.executable, "-m", "bench.paced_upstream", *shape],
            core=cores.upstream,
            log=work / "paced.log",
            cwd=ROOT,
        )
    )
    wait_for_port(ports.whole, mock)
    wait_for_port(ports.paced, paced)
    return ports
