"""How the file is made."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from importlib import metadata
from pathlib import Path

import pytest
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from arbstr.catalogue import file
from arbstr.catalogue.build import compiled, main
from arbstr.catalogue.file import Price

VERSION = metadata.version("genai-prices")


def prices(model: str, price: ModelPrice | list[ConditionalPrice], folder: Path) -> tuple[Price, ...]:
    """What becomes of one model's price."""
    info = ModelInfo(id=model, match=ClauseEquals(model), prices=price)
    seller = Provider(id="example", name="Example", api_pattern="https://api.example", models=[info])
    path = folder / "prices.json"
    path.write_bytes(compiled([seller], version="1", taken=date(2026, 11, 2)))
    (read,) = file.models(file.read(path).providers["example"])
    return read.prices


def test_the_shipped_file_is_what_is_compiled_today() -> None:
    """Byte for byte: `make prices` was not forgotten, and nobody wrote into the file by hand."""
    before = file.read()

    assert before.source == f"genai-prices {VERSION}"
    assert compiled(providers, version=VERSION, taken=before.date) == file.SHIPPED.read_bytes()


def test_the_licence_of_the_data_is_shipped() -> None:
    """As its package has it."""
    files = metadata.files("genai-prices") or []
    text = next(each for each in files if each.name == "LICENSE").read_text()

    assert file.SHIPPED.with_name("LICENSE.genai-prices").read_text() == text


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A day that the data had stays, as long as it is the same data."""
    path = tmp_path / "prices.json"

    assert main([str(path), "--date", "2026-11-02"]) == 0
    first = path.read_bytes()
    assert main([str(path)]) == 0

    assert path.read_bytes() == first
    assert file.read(path).date == date(2026, 11, 2)
    assert f"genai-prices {VERSION} as of 2026-11-02" in capsys.readouterr().out


def test_other_data_have_the_day_on_which_they_were_taken(tmp_path: Path) -> None:
    """That of the file of before is not theirs."""
    path = tmp_path / "prices.json"
    path.write_bytes(compiled([], version="0.0.1", taken=date(2020, 1, 1)))

    assert main([str(path)]) == 0

    assert file.read(path).date > date(2026, 1, 1)


def test_a_file_that_cannot_be_written_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason."""
    assert main([str(tmp_path / "no" / "prices.json")]) == 1

    assert capsys.readouterr().err.endswith("prices.json cannot be written: No such file or directory\n")


def test_without_the_data_s_package_it_says_what_to_install(tmp_path: Path) -> None:
    """One line, and exit code 1."""
    program = (
        "import sys; sys.modules['genai_prices'] = None; import arbstr.catalogue.build as build; sys.exit(build.main())"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "genai-prices is missing: pip install 'arbstr[prices]'\n"


def test_without_a_price_for_output_only_embeddings_have_one(tmp_path: Path) -> None:
    """They put no tokens out; what another model's cost is unknown, and not nothing."""
    price = ModelPrice(input_mtok=Decimal("0.1"))

    assert prices("text-embedding-4", price, tmp_path) == (Price(input=100_000, output=0),)
    assert prices("davinci", price, tmp_path) == (Price(input=100_000),)


def test_output_that_is_not_text_has_no_price(tmp_path: Path) -> None:
    """Input that is not has: as text, and it is said what else is charged."""
    text = {"input_mtok": Decimal(1), "output_mtok": Decimal(2)}

    assert prices("m", ModelPrice(**text, output_image_mtok=Decimal(30)), tmp_path) == (Price(),)
    assert prices("m", ModelPrice(**text, audio_hours=Decimal(1)), tmp_path) == (Price(),)
    listened = ModelPrice(**text, audio_hours=Decimal(1), input_audio_hours=Decimal(1))
    assert prices("m", listened, tmp_path) == (Price(input=10**6, output=2 * 10**6, also=("audio input",)),)


def test_what_is_free_says_so_by_its_name(tmp_path: Path) -> None:
    """A model without a price is not free for that."""
    assert prices("m:free", ModelPrice(), tmp_path) == (Price(input=0, output=0),)
    assert prices("m", ModelPrice(), tmp_path) == (Price(),)


def test_rates_are_exact_and_tiers_kept(tmp_path: Path) -> None:
    """Pico-dollars for a token; digits beyond are rounded."""
    tiers = TieredPrices(base=Decimal("0.125"), tiers=[Tier(start=1000, price=Decimal("0.25"))])
    price = ModelPrice(input_mtok=tiers, output_mtok=Decimal("0.08333333333333334"), requests_kcount=Decimal("12"))

    assert prices("m", price, tmp_path) == (
        Price(input=(125_000, 1000, 250_000), output=83_333, request=12_000_000_000),
    )


def test_hours_are_kept_in_utc(tmp_path: Path) -> None:
    """Whatever offset they are written with."""
    east = timezone(timedelta(hours=8))
    hours = TimeOfDateConstraint(time(6, tzinfo=east), time(9, 30, tzinfo=east))
    plain = TimeOfDateConstraint(time(1), time(2))
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))

    read = prices("m", [ConditionalPrice(hours, prices=price), ConditionalPrice(plain, prices=price)], tmp_path)

    assert [each.hours for each in read] == [(time(22), time(1, 30)), (time(1), time(2))]


def test_a_price_that_is_not_known_stops_the_build(tmp_path: Path) -> None:
    """Somebody has to say whether it can be expressed."""
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), output_dreams_kcount=Decimal(1))

    with pytest.raises(ValueError, match="output_dreams_kcount"):
        prices("m", price, tmp_path)
