"""One environment variable at a time: its value, or a SettingsError that names it, the value and the remedy."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from contracts import errors
from infra import failpoints

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)


class SettingsError(errors.FactoryError):
    """A variable is missing or wrong; the text names it, its value and the remedy."""


def mandatory(values: Mapping[str, str], name: str) -> str:
    """The value of a variable that must be set."""
    value = values.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set: set it, or run `factory up` to start the local stack.")
    return value


def url(
    values: Mapping[str, str], name: str, schemes: tuple[str, ...], *, required: bool = True, bare: bool = False
) -> str:
    """The address of a server, without a slash at its end where it is ``bare``: only host and port."""
    value = mandatory(values, name) if required else values.get(name, "")
    if not value:
        return value
    expected = " or ".join(f"{scheme}://host:port" for scheme in schemes)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and (parts.port is None or parts.port > 0)
    except ValueError:
        raise SettingsError(f"{name} is not a URL ({masked(value)}): give {expected}.") from None
    # A Postgres URL may leave the host to its query (host=/run/postgresql); the others need one.
    if not usable or not (parts.hostname or parts.scheme.startswith("postgres")):
        raise SettingsError(f"{name}={masked(value)} cannot be used: give {expected}.")
    if bare and (parts.path.strip("/") or parts.query or parts.username):
        raise SettingsError(f"{name}={masked(value)} has more than a host and a port: give {expected}.")
    return value.rstrip("/") if bare else value


def masked(url: str) -> str:
    """A URL without what it may have of a password."""
    return re.sub(r"//[^@/]*@", "//***@", url)


def optional(values: Mapping[str, str], name: str, parse: Callable[[str, str], Value], default: Value) -> Value:
    """What a function makes of the variable, or the default where it is not set."""
    value = values.get(name, "")
    return parse(name, value) if value else default


def number(
    values: Mapping[str, str],
    name: str,
    kind: type[Number],
    default: Number,
    *,
    least: Number | None = None,
    most: Number | None = None,
) -> Number:
    """A number above 0, or one that is at least ``least``; at most ``most``."""
    text = values.get(name, "")
    if not text:
        return default
    noun = "a whole number" if kind is int else "a number"
    above = "above 0" if least is None else f"of at least {least:g}"
    bounds = above if most is None else f"{above} and at most {most:g}"
    remedy = f"give {noun} {bounds}, or unset it for {default:g}."
    try:
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{name}={text} is not {noun}: {remedy}") from None
    if not (value > 0 if least is None else least <= value) or not value < 1e12 or (most is not None and value > most):
        raise SettingsError(f"{name}={text} is out of range: {remedy}")
    return value


def choice(values: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    """One of these words, in any case."""
    value = values.get(name, "").lower() or default
    if value not in choices:
        raise SettingsError(f"{name}={value} is unknown: choose one of {', '.join(choices)}.")
    return value


def armed(name: str, value: str) -> frozenset[failpoints.Armed]:
    """Failpoints, as FACTORY_FAILPOINT lists them."""
    try:
        return failpoints.parse(value)
    except ValueError as error:
        raise SettingsError(f"{name}={value} cannot be used: {error}. Unset it to run without failpoints.") from None


def bucket(name: str, value: str) -> str:
    """The name of a bucket."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise SettingsError(f"{name}={value} is no bucket name: use 3 to 63 lower-case letters, digits and hyphens.")
    return value


def address(name: str, value: str) -> str:
    """An IP address to listen on."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise SettingsError(f"{name}={value} is no IP address: give 127.0.0.1, or 0.0.0.0 for every network.") from None


def sockets(name: str, value: str) -> frozenset[str]:
    """Endpoints, as FACTORY_FETCH_ALLOW lists them."""
    entries = [entry.strip().lower() for entry in value.split(",") if entry.strip()]
    for entry in entries:
        host, _, port = entry.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsError(f"{name}: {entry!r} is not host:port: list entries such as 127.0.0.1:8080.")
    return frozenset(entries)
