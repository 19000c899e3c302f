"""A disk without room: nothing is delayed, everything is counted, and it goes on by itself."""

from __future__ import annotations

import json
from pathlib import Path

from tests.store.records import child


def test_a_full_disk_loses_only_what_the_queue_cannot_hold(tmp_path: Path) -> None:
    """Rows wait, also those whose commit failed half-way; they are written once there is room; the file is whole."""
    process = child("full_disk", str(tmp_path / "log.db"))
    output, _ = process.communicate(timeout=60)
    told = json.loads(output)

    assert told["full"]["ok"] is False
    assert told["full"]["error"] == "disk I/O error"
    assert told["recovered"] is True
    assert told["after"]["queued"] == 0
    assert told["after"]["written"] + told["after"]["dropped"] == 1501
    assert told["after"]["dropped"] <= 501
    assert told["rows"] == told["after"]["written"]
    assert told["whole"] == "ok"
    assert told["events"].count("the request log cannot be written") == 1
    assert told["events"].count("the request log is written again") == 1
