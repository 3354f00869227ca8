"""The egress guard admits public servers on the web's ports and nothing else."""

import errno
import ipaddress
import socket

import pytest

from contracts import errors
from infra import egress

REFUSED = [
    # IPv4
    (str(ipaddress.IPv4Address(0)), "unspecified"),
    ("0.1.2.3", "private"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "provider"),
    ("100.100.100.200", "provider"),
    ("127.0.0.1", "machine's own"),
    ("127.255.255.254", "machine's own"),
    ("168.63.129.16", "cloud"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.8", "protocol"),
    ("192.0.0.192", "protocol"),
    ("192.0.2.1", "private"),
    ("192.88.99.1", "relay"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarks"),
    ("198.19.255.255", "benchmarks"),
    ("198.51.100.1", "private"),
    ("203.0.113.1", "private"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "private"),
    ("255.255.255.255", "private"),
    # IPv6
    ("::", "unspecified"),
    ("::1", "machine's own"),
    ("::127.0.0.1", "embedded"),
    ("::8.8.8.8", "embedded"),
    ("::ffff:127.0.0.1", "embedded"),
    ("::ffff:8.8.8.8", "embedded"),
    ("64:ff9b::7f00:1", "embedded"),
    ("64:ff9b::808:808", "embedded"),
    ("64:ff9b:1::1", "embedded"),
    ("100::1", "private"),
    ("2001::1", "embedded"),
    ("2001:db8::1", "private"),
    ("2002:7f00:1::", "embedded"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "segment routing"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]


@pytest.mark.parametrize(("host", "reason"), REFUSED)
def test_addresses_that_are_not_public_are_refused_with_a_reason(host: str, reason: str) -> None:
    explanation = egress.refusal(host, 443)

    assert explanation is not None
    assert reason in explanation


@pytest.mark.parametrize("host", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
@pytest.mark.parametrize("port", [80, 443])
def test_public_addresses_are_admitted_on_the_ports_of_the_web(host: str, port: int) -> None:
    assert egress.refusal(host, port) is None


@pytest.mark.parametrize("port", [0, 22, 25, 5432, 5672, 6379, 8080, 9000, 65535])
def test_other_ports_are_refused_even_on_public_addresses(port: int) -> None:
    assert "ports 80 and 443" in str(egress.refusal("1.1.1.1", port))


@pytest.mark.parametrize("host", ["localhost", "example.org", "", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_what_is_not_a_plain_address_is_refused(host: str) -> None:
    assert egress.refusal(host, 80) is not None


def test_the_allow_list_admits_exactly_the_address_and_port_that_it_names() -> None:
    allowed = egress.parse_allowed(["127.0.0.1:8123", "[::1]:8124"])

    assert egress.refusal("127.0.0.1", 8123, allowed) is None
    assert egress.refusal("::1", 8124, allowed) is None
    for host, port in [
        ("127.0.0.1", 8124),
        ("127.0.0.1", 80),
        ("127.0.0.2", 8123),
        ("::1", 8123),
        ("::ffff:127.0.0.1", 8123),
        ("::127.0.0.1", 8123),
        ("10.0.0.1", 8123),
        ("1.1.1.1", 8123),
    ]:
        assert egress.refusal(host, port, allowed) is not None, (host, port)


@pytest.mark.parametrize(
    "entry", ["localhost:8123", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "::1", ""]
)
def test_a_wrong_entry_of_the_allow_list_is_named_with_its_remedy(entry: str) -> None:
    with pytest.raises(errors.FactoryError, match="allow list") as caught:
        egress.parse_allowed([entry])

    assert f"'{entry}'" in str(caught.value)


def test_no_socket_is_made_for_a_refused_address() -> None:
    make = egress.socket_factory(egress.parse_allowed(["127.0.0.1:8123"]))
    stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "example.org")

    with pytest.raises(OSError, match=r"address 127\.0\.0\.1 port 80 is refused, because") as caught:
        make((*stream, ("127.0.0.1", 80)))
    assert caught.value.errno == errno.EACCES
    make((*stream, ("127.0.0.1", 8123))).close()
