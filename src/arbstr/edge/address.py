"""Where a request comes from: the caller's address, which anybody behind a proxy could make up if we let them.

``X-Forwarded-For`` is a list to which each proxy adds, on the right, the address that called it. So it is read from the
right, and each entry counts only as long as the one who wrote it is a proxy that the operator trusts; the first that is
none of those is the caller. Everything to its left is hearsay.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import msgspec

from arbstr.edge.respond import Scope

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_CHAIN = 512
"""Bytes of ``X-Forwarded-For`` that are read, from the right: a dozen proxies, and no more than may be remembered."""

PROXY_SIGNS = frozenset(
    {
        *(b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via", b"x-forwarded", b"x-forwarded-host"),
        *(b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-server", b"x-original-forwarded-for"),
        *(b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip"),
        *(b"cdn-loop", b"x-envoy-external-address"),
    }
)
"""Headers that a request has from a proxy, and hardly ever from the program that made it."""


class CallerAddress(msgspec.Struct, frozen=True):
    """Where a request comes from."""

    text: str
    """An IPv4 or IPv6 address, in its usual form; ``unix`` for the peer of a Unix socket, which has none."""
    group: str
    """Who is counted as one caller: an IPv4 address, or the /64 of an IPv6 one, of which a household has that many."""
    local: bool
    """Whether it is this machine itself that asks, so that it may do what its operator may."""


UNKNOWN = CallerAddress("unix", "unix", local=False)
"""A peer without an address. Not local: what such a socket is made for is a proxy in front of it."""


def caller_address(scope: Scope, headers: dict[bytes, bytes], trusted: tuple[Network, ...]) -> CallerAddress:
    """Who made a request, by ``scope["client"]`` and ``X-Forwarded-For``. ``headers``: those of ``scope``, by name.

    ``trusted`` are the networks of the proxies whose word counts. Where one of them says something that is no address,
    it stands for its caller itself.

    A request is local where its peer is a loopback address and no header shows that the peer is a proxy: a reverse
    proxy on this machine must not give strangers its own rights. Behind trusted proxies it is local where every hop,
    the caller included, is a loopback address. A proxy that adds no header at all cannot be told from a local caller.
    """
    client = scope.get("client")
    peer = _peer(client[0]) if client is not None else UNKNOWN
    if PROXY_SIGNS.isdisjoint(headers):
        return peer
    if not trusted or b"x-forwarded-for" not in headers:
        return _elsewhere(peer)
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    chain = b",".join(lines)
    if len(chain) > LONGEST_CHAIN:
        chain = b"," + chain[-LONGEST_CHAIN:].partition(b",")[2]
    caller = _forwarded(peer, chain, trusted)
    # A proxy that writes the other header may pass on this one as a stranger has made it up.
    return caller if b"forwarded" not in headers else _elsewhere(caller)


@lru_cache(maxsize=4096)
def _forwarded(peer: CallerAddress, chain: bytes, trusted: tuple[Network, ...]) -> CallerAddress:
    """The caller by ``chain``, which ``peer`` sent."""
    caller, local = peer, peer.local
    for entry in reversed(chain.split(b",")):
        if not _trusts(trusted, caller):
            return _elsewhere(caller)
        hop = _hop(entry)
        if hop is None:
            return _elsewhere(caller)
        caller, local = hop, local and hop.local
    return caller if local else _elsewhere(caller)


def _elsewhere(address: CallerAddress) -> CallerAddress:
    return CallerAddress(address.text, address.group, local=False) if address.local else address


def _trusts(trusted: tuple[Network, ...], address: CallerAddress) -> bool:
    ip = _parsed(address.text)
    return ip is not None and any(ip in network for network in trusted)


@lru_cache(maxsize=4096)
def _peer(host: str) -> CallerAddress:
    """The other end of a connection, as the server names it."""
    return _address(host) or UNKNOWN


_PORT = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5}", re.ASCII)
"""An IPv6 address in brackets, with or without a port; an IPv4 address with one."""


def _hop(entry: bytes) -> CallerAddress | None:
    """An entry of ``X-Forwarded-For``; None for what is no address (``unknown``, a name, nothing)."""
    text = entry.decode("latin-1").strip(" \t")
    with_port = _PORT.fullmatch(text)
    return _address(with_port[1] or with_port[2] if with_port is not None else text)


def _address(text: str) -> CallerAddress | None:
    ip = _parsed(text)
    if ip is None:
        return None
    if ip.version == 4:
        return CallerAddress(str(ip), str(ip), ip.is_loopback)
    return CallerAddress(str(ip), str(ipaddress.IPv6Network((int(ip), 64), strict=False)), ip.is_loopback)


def _parsed(text: str) -> IPAddress | None:
    """An address; of an IPv4 address inside an IPv6 one the former, and of a scoped one the part without its scope."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip if ip.version == 4 else ip.ipv4_mapped or ipaddress.IPv6Address(int(ip))
