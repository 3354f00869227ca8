"""Which network addresses the factory may connect to: the one check that every outgoing connection passes."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable

import aiohttp

from contracts import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint = tuple[Address, int]

PORTS = frozenset({80, 443})

DENIED: tuple[tuple[str, str], ...] = (
    ("100.64.0.0/10", "shared by a provider's customers"),
    ("168.63.129.16/32", "the platform service of a cloud"),
    ("192.0.0.0/24", "reserved for protocol assignments"),
    ("192.88.99.0/24", "a relay into IPv6"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("::/96", "an embedded IPv4 address"),
    ("::ffff:0:0/96", "an embedded IPv4 address"),
    ("64:ff9b::/96", "an embedded IPv4 address"),
    ("64:ff9b:1::/48", "an embedded IPv4 address"),
    ("2001::/32", "an embedded IPv4 address"),
    ("2002::/16", "an embedded IPv4 address"),
    ("3fff::/20", "reserved for documentation"),
    ("5f00::/16", "reserved for segment routing"),
    ("fec0::/10", "a site-local address"),
)
"""Networks that ``ipaddress`` calls global, in one Python release or another, though no public server lives there.

IPv4 addresses embedded in IPv6 are denied, not unwrapped: a public IPv4 server can be reached by its own.
"""

_NETWORKS = tuple((ipaddress.ip_network(network), reason) for network, reason in DENIED)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is handed out so far (IANA, IPv6 address space)


def parse_allowed(entries: Iterable[str]) -> frozenset[Endpoint]:
    """The endpoints of a list such as ``127.0.0.1:8123`` or ``[::1]:8123``; raises FactoryError for a wrong entry."""
    return frozenset(_endpoint(entry) for entry in entries)


def _endpoint(entry: str) -> Endpoint:
    host, _, port = entry.strip().rpartition(":")
    try:
        address = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
        number = int(port)
    except ValueError as error:
        raise errors.FactoryError(
            f"allow list: '{entry}' is not an address with a port; write it like 127.0.0.1:8123 or [::1]:8123"
        ) from error
    if not 0 < number < 65536:
        raise errors.FactoryError(f"allow list: '{entry}' has port {number}; give one from 1 to 65535")
    return address, number


def refusal(host: str, port: int, allowed: frozenset[Endpoint] = frozenset()) -> str | None:
    """Why no connection may be made to this address and port, or None if it may.

    ``host`` is the address that a socket is about to connect to, never a name: names can change their answer.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "it is not a network address"
    if (address, port) in allowed:
        return None
    if port not in PORTS:
        return f"only the ports {' and '.join(map(str, sorted(PORTS)))} are open to feeds"
    return _not_public(address)


def _not_public(address: Address) -> str | None:
    kinds = (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "this machine's own address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        *((address in network, reason) for network, reason in _NETWORKS if network.version == address.version),
        (address.is_private, "a private address"),
        (not address.is_global, "a reserved address"),
        (isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST, "a reserved address"),
    )
    kind = next((kind for applies, kind in kinds if applies), None)
    return f"it is {kind}, not that of a public server" if kind else None


def socket_factory(allowed: frozenset[Endpoint]) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    """Makes the sockets of an HTTP client, none for a refused address.

    The client calls it with the final address of each connect, literal addresses and redirects included, so that a name
    which changes its answer is caught too. A refusal is an OSError with errno EACCES.
    """

    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (host, port, *_rest) = info
        reason = refusal(str(host), int(port), allowed)
        if reason is not None:
            raise PermissionError(errno.EACCES, f"address {host} port {port} is refused, because {reason}")
        return socket.socket(family, kind, protocol)

    return make
