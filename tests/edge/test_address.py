"""Whose request it is, and whether it is this machine's own."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.edge.address import LONGEST_CHAIN, UNKNOWN, CallerAddress, caller_address

STRANGER = "203.0.113.9"


def address(peer: str | None, *chain: str, trusted: str = "", **others: str) -> CallerAddress:
    """The address of a request from ``peer``; ``chain`` are its lines of X-Forwarded-For."""
    lines = [("x-forwarded-for", line) for line in chain]
    lines += [(name.replace("_", "-"), value) for name, value in others.items()]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in [("host", "localhost"), *lines]]
    scope: dict[str, Any] = {"client": None if peer is None else (peer, 4711), "headers": headers}
    return caller_address(scope, dict(headers), tuple(ipaddress.ip_network(each) for each in trusted.split()))


class TestWhose:
    def test_the_peer(self) -> None:
        """Without proxies, whoever is at the other end of the connection."""
        assert address(STRANGER).text == STRANGER

    def test_a_header_from_anybody(self) -> None:
        """X-Forwarded-For of a peer that is no trusted proxy does not count."""
        assert address(STRANGER, "198.51.100.1").text == STRANGER
        assert address(STRANGER, "198.51.100.1", trusted="10.0.0.0/8").text == STRANGER

    def test_a_trusted_proxy(self) -> None:
        """That of one that is does."""
        assert address("10.0.0.1", STRANGER, trusted="10.0.0.0/8").text == STRANGER

    def test_made_up_entries(self) -> None:
        """What the caller itself had sent stands to the left of its own address, and does not count."""
        assert address("10.0.0.1", f"127.0.0.1, 198.51.100.1, {STRANGER}", trusted="10.0.0.0/8").text == STRANGER

    def test_proxies_in_a_row(self) -> None:
        """Trusted ones are passed over, from the right."""
        chain = f"198.51.100.1, {STRANGER}, 10.0.0.3, fd00::2"

        assert address("10.0.0.1", chain, trusted="10.0.0.0/8 fd00::/8").text == STRANGER

    def test_trusted_ones_alone(self) -> None:
        """Where all are trusted, the first of them made the request."""
        assert address("10.0.0.1", "10.0.0.9, 10.0.0.3", trusted="10.0.0.0/8").text == "10.0.0.9"

    def test_several_lines(self) -> None:
        """They are one list, in their order: the last line is no more than its end."""
        lines = ("198.51.100.1", STRANGER, "10.0.0.3")

        assert address("10.0.0.1", *lines, trusted="10.0.0.0/8").text == STRANGER

    @pytest.mark.parametrize(
        ("entry", "text"),
        [
            ("203.0.113.9:51234", STRANGER),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("::ffff:203.0.113.9", STRANGER),
            ("fe80::1%eth0", "fe80::1"),
            ("\t 203.0.113.9 ", STRANGER),
        ],
    )
    def test_forms_of_an_entry(self, entry: str, text: str) -> None:
        """Ports, brackets, scopes and spaces are no part of an address; one address has one form."""
        assert address("10.0.0.1", entry, trusted="10.0.0.0/8").text == text

    @pytest.mark.parametrize(
        "entry", ["unknown", "_hidden", "", " ", "example.com", "203.0.113.9:port", "010.0.0.1", "[::1", "1.2.3", "é"]
    )
    def test_an_entry_that_is_no_address(self, entry: str) -> None:
        """The proxy that wrote it stands for its caller, and nothing left of it counts."""
        assert address("10.0.0.1", f"198.51.100.1, {entry}", trusted="10.0.0.0/8").text == "10.0.0.1"
        assert address("10.0.0.1", f"198.51.100.1, {entry}, 10.0.0.3", trusted="10.0.0.0/8").text == "10.0.0.3"

    def test_a_peer_in_ipv6_form(self) -> None:
        """An IPv4 address is the same where the gateway listens on both."""
        assert address(f"::ffff:{STRANGER}") == address(STRANGER)
        assert address("::ffff:10.0.0.1", STRANGER, trusted="10.0.0.0/8").text == STRANGER

    @pytest.mark.parametrize("peer", [None, "", "/run/arbstr.sock"])
    def test_a_unix_socket(self, peer: str | None) -> None:
        """Its peers are nobody in particular, are not believed, and are not local."""
        assert address(peer) == UNKNOWN
        assert address(peer, STRANGER, trusted="0.0.0.0/0 ::/0") == UNKNOWN
        assert not UNKNOWN.local

    def test_an_endless_chain(self) -> None:
        """It is read from the right as far as it may reach, and an entry that is cut through does not count."""
        endless = ", ".join(["203.0.113.255"] * 10 + ["10.0.0.255"] * 1000)
        proxies = "10.0.0.7," + "10.0.0.8".rjust(LONGEST_CHAIN - len("3.0.113.9,10.0.0.7,"))
        cut = f"{STRANGER},{proxies}"

        assert address("10.0.0.1", endless, trusted="10.0.0.0/8").text == "10.0.0.255"
        assert cut[-LONGEST_CHAIN:].startswith("3.0.113.9,")
        assert address("10.0.0.1", cut, trusted="10.0.0.0/8").text == "10.0.0.7"

    @given(st.lists(st.ip_addresses().map(str) | st.text(st.characters(codec="latin-1"), max_size=20), max_size=5))
    def test_whatever_a_stranger_sends(self, made_up: list[str]) -> None:
        """Behind a proxy that adds what it saw, its address is the one that it has."""
        chain = ",".join([*made_up, STRANGER])

        assert address("10.0.0.1", chain, trusted="10.0.0.0/8 127.0.0.0/8 ::1") == address(STRANGER)


class TestGroup:
    def test_ipv4(self) -> None:
        """Each address is a caller."""
        assert address(STRANGER).group == STRANGER

    def test_ipv6(self) -> None:
        """All of a /64 are one caller, for whoever has one of them has them all."""
        one, other = address("2001:db8:0:1::1"), address("2001:db8:0:1:ffff::2")

        assert one.group == other.group == "2001:db8:0:1::/64"
        assert address("2001:db8:0:2::1").group != one.group


class TestLocal:
    @pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    def test_a_loopback_peer(self, peer: str) -> None:
        """A program of this machine, by whichever of its addresses."""
        assert address(peer).local

    def test_any_other_peer(self) -> None:
        """Not even from the next room."""
        assert not address("192.168.1.2").local

    @pytest.mark.parametrize(
        "header",
        [
            "forwarded",
            "via",
            "x_real_ip",
            "x_forwarded_proto",
            "x_forwarded_host",
            "cf_connecting_ip",
            "true_client_ip",
        ],
    )
    def test_a_proxy_on_this_machine(self, header: str) -> None:
        """What came through a proxy is a stranger's, though the proxy is here; what its header says does not matter."""
        assert not address("127.0.0.1", **{header: "127.0.0.1"}).local
        assert not address("127.0.0.1", trusted="127.0.0.0/8", **{header: "127.0.0.1"}).local

    @pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
    def test_a_proxy_that_is_not_trusted(self, trusted: str) -> None:
        """Its X-Forwarded-For does not count, but it shows that there is a proxy."""
        assert not address("127.0.0.1", "127.0.0.1", trusted=trusted).local

    def test_this_machine_behind_its_own_proxy(self) -> None:
        """Where a trusted proxy says that its caller is this machine, it is."""
        caller = address("127.0.0.1", "::1", trusted="127.0.0.0/8", x_real_ip="::1", via="1.1 Caddy")

        assert caller.local
        assert caller.text == "::1"

    def test_a_stranger_who_says_so(self) -> None:
        """A made-up loopback address stands left of the stranger's own."""
        assert not address("127.0.0.1", f"127.0.0.1, {STRANGER}", trusted="127.0.0.0/8").local

    def test_a_proxy_that_writes_the_other_header(self) -> None:
        """One that adds to Forwarded alone passes on what a stranger has put into X-Forwarded-For."""
        assert not address("127.0.0.1", "127.0.0.1", trusted="127.0.0.0/8", forwarded=f"for={STRANGER}").local

    def test_the_loopback_of_another_machine(self) -> None:
        """A trusted proxy elsewhere means its own loopback, at either place in a chain."""
        assert not address("10.0.0.1", "127.0.0.1", trusted="10.0.0.0/8 127.0.0.0/8").local
        assert not address("127.0.0.1", "127.0.0.1, 10.0.0.1", trusted="10.0.0.0/8 127.0.0.0/8").local

    @pytest.mark.parametrize("chain", ["", "unknown", "127.0.0.1,", "127.0.0.1, unknown", "unknown, 127.0.0.1"])
    def test_a_proxy_that_does_not_know(self, chain: str) -> None:
        """Where a trusted proxy names nobody, it may be anybody."""
        assert not address("127.0.0.1", chain, trusted="127.0.0.0/8").local

    def test_what_a_local_caller_claims(self) -> None:
        """Whoever says that it asks for somebody else is a proxy, and not trusted to be one."""
        assert not address("127.0.0.1", "127.0.0.1, 127.0.0.9", trusted="127.0.0.1").local

    def test_a_chain_that_is_too_long(self) -> None:
        """Who stands at its beginning is not known."""
        assert not address("127.0.0.1", ", ".join(["127.0.0.1"] * 100), trusted="127.0.0.0/8").local


def test_a_list_beside_another_header_makes_nobody_local() -> None:
    """A trusted proxy that writes the other alone passes on what a stranger put into X-Forwarded-For."""
    alone = address("127.0.0.1", "127.0.0.1", trusted="127.0.0.0/8")
    beside = address("127.0.0.1", "127.0.0.1", trusted="127.0.0.0/8", forwarded="for=203.0.113.9")

    assert (alone.local, beside.local) == (True, False)
