"""Who needs no catalogue does not load it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.process.program import running


async def test_a_gateway_with_rates_of_its_own_never_loads_it(tmp_path: Path) -> None:
    """`serve --mock` is such a one."""
    async with running(
        "serve", "--mock", "--listen", "127.0.0.1:0", folder=tmp_path, environ={"PYTHONPROFILEIMPORTTIME": "1"}
    ) as program:
        await program.said("listening")
        assert await program.stopped() == 0

    assert "arbstr.config" in program.errors
    assert "arbstr.catalogue" not in program.errors


def test_the_catalogue_is_light() -> None:
    """It needs neither the package that its data is from nor anything of the gateway."""
    program = "import sys; from arbstr.catalogue import shipped; shipped(); print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"genai_prices", "pydantic", "asyncio", "click", "yaml", "uvloop"})
