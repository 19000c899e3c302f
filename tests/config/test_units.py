"""Durations, sizes, rates, addresses and URLs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.config import units
from arbstr.config.units import Address, Text


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("100ms", 0.1),
        ("30s", 30.0),
        ("1.5s", 1.5),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("7d", 604_800.0),
        ("2 h", 7200.0),
        (30, 30.0),
        (Decimal("0.25"), 0.25),
        (Text("45", "VAR"), 45.0),
        (Text("45s", "VAR"), 45.0),
    ],
)
def test_durations_have_units_or_are_seconds(written: Any, seconds: float) -> None:
    """Text needs a unit, numbers are seconds; the environment has no numbers, so its bare digits are seconds too."""
    assert units.duration(written) == seconds


@pytest.mark.parametrize("written", ["", "30", "s", "30 parsecs", "1h30m", "-5s", "nan", "1e3s", "9" * 40 + "s", "٣s"])
def test_what_is_not_a_duration_is_refused(written: str) -> None:
    """Anything else is an error that shows what a duration looks like."""
    with pytest.raises(ValueError, match="expected a duration such as"):
        units.duration(written)


@pytest.mark.parametrize("written", [0, "0s", -1, Decimal("nan"), Decimal("inf"), True, None, [], {}, "400d"])
def test_durations_are_positive_finite_and_below_a_year(written: Any) -> None:
    """Zero waits for nothing, and no timeout is endless."""
    with pytest.raises(ValueError, match="expected"):
        units.duration(written)


def test_zero_is_a_duration_where_waiting_may_be_left_out() -> None:
    """A drain time of 0 ends at once."""
    assert units.duration("0s", zero=True) == 0.0


@pytest.mark.parametrize(
    ("written", "count"),
    [("1B", 1), ("10kB", 10_000), ("64KiB", 65_536), ("32MiB", 33_554_432), ("1.5GiB", 1_610_612_736), (1024, 1024)],
)
def test_sizes_are_bytes(written: Any, count: int) -> None:
    """Binary units are powers of 1,024, decimal ones of 1,000."""
    assert units.size(written) == count


@pytest.mark.parametrize(
    "written", ["", "32", "32 parsecs", "0B", 0, -1, "5GiB", "0.5B", Decimal("NaN"), True, "-1MiB"]
)
def test_what_is_not_a_size_is_refused(written: Any) -> None:
    """From one byte to 4 GiB, whole, with a unit."""
    with pytest.raises(ValueError, match="expected"):
        units.size(written)


@given(st.integers(1, 4 * 1024))
def test_a_size_is_the_same_in_any_unit(mebibytes: int) -> None:
    """Units are names for factors."""
    in_bytes = mebibytes * 1024**2

    assert units.size(f"{mebibytes}MiB") == units.size(f"{mebibytes * 1024}KiB") == units.size(in_bytes) == in_bytes


@given(st.decimals(min_value=0, max_value=10**9, places=9, allow_nan=False, allow_infinity=False))
def test_rates_keep_every_digit(amount: Decimal) -> None:
    """Money is never a float on its way in."""
    assert units.rate(amount) == amount


@pytest.mark.parametrize(
    "written", [-1, Decimal("-0.1"), Decimal("nan"), Decimal("inf"), Decimal("1e400"), 10**9 + 1, "1", True, None]
)
def test_rates_are_numbers_that_make_sense(written: Any) -> None:
    """Not negative, finite, not absurd, and not text."""
    with pytest.raises(ValueError, match="expected"):
        units.rate(written)


@pytest.mark.parametrize(
    ("written", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.8.9.1:1", "127.8.9.1", 1, True),
        ("[::1]:0", "::1", 0, True),
        ("localhost:65535", "localhost", 65_535, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:80", "::", 80, False),
        ("gateway.internal:80", "gateway.internal", 80, False),
    ],
)
def test_addresses_are_host_and_port(written: str, host: str, port: int, loopback: bool) -> None:
    """An IPv6 host stands in brackets; names other than localhost may be anywhere."""
    address = units.address(written)

    assert (address.host, address.port, address.loopback) == (host, port, loopback)
    assert str(address) == written


@pytest.mark.parametrize(
    "written",
    ["", ":8080", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "1:2", "[::1]", "[x]:1", "a b:1", 80],
)
def test_what_is_not_an_address_is_refused(written: Any) -> None:
    """A host and a port, both there and both possible."""
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        units.address(written)


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        (Text("10.0.0.0/8", "VAR"), "10.0.0.0/8"),
    ],
)
def test_networks_have_a_mask_or_are_one_address(written: Any, network: str) -> None:
    """Of either version."""
    assert str(units.network(written)) == network


@pytest.mark.parametrize(
    "written",
    ["", "10.0.0.0/33", "10.0.0", "localhost", "*", 10, ["10.0.0.0/8"], None, "::ffff:10.0.0.0/104", "fe80::1%e"],
)
def test_what_is_not_a_network_is_refused(written: Any) -> None:
    """Names are not looked up, and what would never match is an error."""
    with pytest.raises(ValueError, match=r'expected a network such as "10\.0\.0\.0/8", or an address'):
        units.network(written)


def test_a_network_that_begins_inside_itself_is_told_where_it_begins() -> None:
    """Perhaps one address was meant, perhaps all of them."""
    with pytest.raises(ValueError, match=r'^"10\.1\.2\.3/8" begins inside its network, expected "10\.0\.0\.0/8"$'):
        units.network("10.1.2.3/8")
    with pytest.raises(ValueError, match=r"^the value of VAR begins inside its network, expected its first address$"):
        units.network(Text("10.1.2.3/8", "VAR"))


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("http://127.0.0.1:11434/v1//", "http://127.0.0.1:11434/v1"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("HTTPS://my_host", "HTTPS://my_host"),
    ],
)
def test_urls_lose_their_trailing_slashes(written: str, url: str) -> None:
    """Paths can be appended to what comes out."""
    assert units.url(written) == url


@pytest.mark.parametrize(
    "written",
    [
        "",
        "api.example.com/v1",
        "ftp://api.example.com",
        "https://",
        "https:///v1",
        "https://host:0/v1",
        "https://host:99999/v1",
        "https://host:port/v1",
        "https://host:",
        "https://user:sk-secret@host/v1",
        "https://@host/v1",
        "https://host/v1?key=sk-secret",
        "https://host/v1#sk-secret",
        "https://host/v1?",
        "https://ho st/v1",
        "https://host/v1\n",
        "https://hóst/v1",
        "https://1.2.3/v1",
        "https://[::g]/v1",
        "https://[::1",
        "https://host\\evil/v1",
        7,
    ],
)
def test_what_is_not_a_plain_url_is_refused_without_being_shown(written: Any) -> None:
    """Scheme, host, port and path; a credential that was pasted into it stays out of the message."""
    with pytest.raises(ValueError, match="expected") as caught:
        units.url(written)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "path"), [("sqlite:///arbstr.db", "arbstr.db"), ("sqlite:////var/lib/a b.db", "/var/lib/a b.db")]
)
def test_store_urls_are_paths(written: str, path: str) -> None:
    """Three slashes are relative, four absolute."""
    assert units.store(written) == path


@pytest.mark.parametrize(
    "written",
    [
        "",
        "arbstr.db",
        "sqlite://x",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///:memory:",
        "sqlite:///a/",
        "sqlite:///a?b",
        1,
    ],
)
def test_what_is_not_a_store_url_is_refused(written: Any) -> None:
    """The log is a file."""
    with pytest.raises(ValueError, match="expected"):
        units.store(written)


def test_postgresql_is_told_to_come_later() -> None:
    """A store that is planned is not called unknown, and the password in its URL is not shown."""
    with pytest.raises(ValueError, match="not available in this version") as caught:
        units.store("postgresql://me:sk-secret@db/arbstr")

    assert "secret" not in str(caught.value)


@given(st.text(min_size=1))
def test_values_from_the_environment_are_never_shown(value: str) -> None:
    """What a message says of such a value is where it came from."""
    text = Text(value, "${NAME}")

    assert units.shown(text) == units.described(text) == "the value of ${NAME}"
    assert repr(text) == "Text(from ${NAME})"


@given(st.one_of(st.text(), st.integers(), st.decimals(), st.booleans(), st.none(), st.lists(st.text()), st.dates()))
def test_what_is_shown_is_short_and_one_line(value: Any) -> None:
    """No value breaks a message in two or fills the screen, and none steers a terminal."""
    shown = units.shown(value)

    assert shown.isprintable()
    assert 0 < len(shown) <= 12 * units.LONGEST_SHOWN + 2  # in quotes, each character as two escapes


@given(st.one_of(st.text(), st.integers(), st.decimals(), st.booleans(), st.none(), st.lists(st.text()), st.dates()))
def test_readers_refuse_by_value_error_alone(value: Any) -> None:
    """Whatever stands in a file, a reader returns its type or says what is wrong."""
    readers: dict[type, Callable[[Any], object]] = {
        float: units.duration,
        int: units.size,
        Decimal: units.rate,
        Address: units.address,
        str: units.url,
        bytes: lambda value: units.network(value).network_address.packed,
    }

    outcomes = {kind: _outcome(reader, value) for kind, reader in readers.items()}

    assert all(outcome is kind or "expected " in str(outcome) for kind, outcome in outcomes.items())


def _outcome(reader: Callable[[Any], object], value: Any) -> type | str:
    """The type of what was read, or the message of the refusal."""
    try:
        return type(reader(value))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("reader", [units.url, units.store])
def test_what_comes_out_no_longer_knows_its_source(reader: Any) -> None:
    """Text from the environment becomes plain text."""
    written = {units.url: "https://host/v1", units.store: "sqlite:///a.db"}[reader]

    assert type(reader(Text(written, "VAR"))) is str
