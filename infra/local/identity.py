"""What a local server keeps between starts: its ports and its passwords, in a private file of its folder."""

import json
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from infra.local import processes

FILE = "identity.json"
# Below the range from which Linux takes ports for outgoing connections, so that a restart finds its port free.
PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Identity:
    """Ports and passwords by name."""

    ports: dict[str, int]
    passwords: dict[str, str] = field(repr=False)


def recall(folder: Path, ports: Iterable[str], passwords: Iterable[str]) -> Identity:
    """The identity kept in ``folder``, made at the first call; a port that someone else took meanwhile is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    kept = _read(path)
    identity = Identity(
        ports=_open_ports(list(ports), kept.ports),
        passwords={name: kept.passwords.get(name) or secrets.token_hex(16) for name in passwords},
    )
    if identity != kept:
        path.touch(mode=0o600)
        path.write_text(json.dumps({"ports": identity.ports, "passwords": identity.passwords}))
    return identity


def is_open(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections of the previous run in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback address."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _read(path: Path) -> Identity:
    try:
        kept = json.loads(path.read_text())
        return Identity(ports=dict(kept["ports"]), passwords=dict(kept["passwords"]))
    except FileNotFoundError:
        return Identity({}, {})
    except (ValueError, KeyError, TypeError):
        raise processes.StackError(
            f"{path} is damaged: remove {path.parent} to begin anew (its data goes too)."
        ) from None


def _open_ports(names: list[str], kept: dict[str, int]) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name, 0)
        while not port or port in chosen.values() or not is_open(port):
            port = PORTS[secrets.randbelow(len(PORTS))]
        chosen[name] = port
    return chosen
