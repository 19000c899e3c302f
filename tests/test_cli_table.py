"""Tables as they are laid out for a width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbstr.cli.table import Table, lines, without_empty

SELLERS = Table(
    columns=("provider", "kind", "base url", "rate"),
    rows=[("alpha", "openai", "https://alpha.example/v1", "10"), ("beta", "–", "https://b.example", "2.5")],
    numbers=frozenset({"rate"}),
    fold=("base url", "kind"),
)


def shown(table: Table, width: int | None = None) -> list[str]:
    return [line.text for line in lines(table, width)]


def test_where_there_is_room_a_row_is_a_line() -> None:
    """Each value under its heading, numbers flush right."""
    assert shown(SELLERS, 48) == [
        "provider  kind    base url                  rate",
        "────────────────────────────────────────────────",
        "alpha     openai  https://alpha.example/v1    10",
        "beta      –       https://b.example          2.5",
    ]


def test_elsewhere_than_on_a_terminal_there_is_always_room() -> None:
    """And no rule under the heading: a script can cut it off as one line."""
    assert shown(SELLERS) == [
        "provider  kind    base url                  rate",
        "alpha     openai  https://alpha.example/v1    10",
        "beta      –       https://b.example          2.5",
    ]


def test_what_matters_least_leaves_the_row_first() -> None:
    """It stands beneath it with its name; what is missing is left out there."""
    assert shown(SELLERS, 47) == [
        "provider  kind    rate",
        "──────────────────────",
        "alpha     openai    10",
        "    base url: https://alpha.example/v1",
        "beta      –        2.5",
        "    base url: https://b.example",
    ]


def test_of_no_room_at_all_a_list_is_made() -> None:
    """The first column stays, and what stands beneath it takes as few lines as it can; a word is longer if it is."""
    assert shown(SELLERS, 20) == [
        "provider  rate",
        "──────────────",
        "alpha       10",
        "    kind: openai",
        "    base url: https://alpha.example/v1",
        "beta       2.5",
        "    base url: https://b.example",
    ]


def test_what_goes_without_saying_is_not_repeated_beneath() -> None:
    """A value that is implied by being that of the first column; in the row it is shown."""
    table = Table(("model", "upstream"), [("m", "m"), ("m", "other")], implied=frozenset({"upstream"}))

    assert shown(table, 5)[2:] == ["m", "m", "    upstream: other"]
    assert shown(table, 50)[2:] == ["m      m", "m      other"]


def test_signs_that_are_two_columns_wide_count_as_two() -> None:
    """Names in any script stand in straight columns."""
    table = Table(("model", "n"), [("模型", "1"), ("model", "2")])

    assert shown(table) == ["model  n", "模型   1", "model  2"]


_WORDS = st.text("abcdefg/:.-", min_size=1, max_size=30)


@st.composite
def _tables(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(_WORDS, min_size=1, max_size=6, unique=True))
    rows = draw(st.lists(st.tuples(*[_WORDS] * len(columns)), max_size=4))
    some = st.lists(st.sampled_from(columns), unique=True)
    fold = tuple(name for name in draw(some) if name != columns[0])
    return Table(tuple(columns), rows, frozenset(draw(some)), fold)


@given(_tables(), st.integers(1, 120))
def test_no_width_breaks_a_word_or_loses_one(table: Table, width: int) -> None:
    """Every value is on some line in one piece, and only a line with a single value is too long."""
    _, _, *below = shown(table, width)

    words = [word for line in below for word in line.split()]
    too_long = [line.split() for line in below if len(line) > width]
    assert all(value in words for row in table.rows for value in row)
    assert all(len(parts) == 1 or (len(parts) == 2 and parts[0].endswith(":")) for parts in too_long)


def test_columns_in_which_nothing_stands_can_be_left_out() -> None:
    """Those that may be, and only where no row has something in them; also where there are no rows at all."""
    table = Table(("name", "a", "b", "c"), [("x", "–", "–", "–"), ("y", "1", "0", "–")], fold=("c", "b"))

    assert without_empty(table, ("a", "b")).columns == ("name", "a", "b", "c")
    assert without_empty(table, ("a", "c")).rows == [("x", "–", "–"), ("y", "1", "0")]
    assert without_empty(table, ("a", "b"), ("0", "–")).fold == ("c",)
    assert without_empty(Table(("name", "a"), []), ("a",)).columns == ("name",)
