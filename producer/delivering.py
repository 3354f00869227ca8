"""Deliverables as files."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from contracts.errors import FactoryError
from infra import objects, views

SUFFIXES: Mapping[str, str] = MappingProxyType({"markdown": "md"})
"""Formats whose files do not end in the format's name."""


def folder_of(home: Path, execution_id: object) -> Path:
    """Where the deliverables of an execution are put unless another folder is named."""
    return home / "reports" / str(execution_id)


async def save(items: Iterable[views.Deliverable], bucket: objects.Objects, folder: Path) -> dict[str, Path]:
    """Writes each deliverable to a file named by its step and format, and returns the paths by format.

    Where two steps deliver the same format, the key is ``<step>.<format>``. Raises FactoryError rather than replacing
    a file of other content.
    """
    found = list(items)
    formats = [item.format for item in found]
    written: dict[str, Path] = {}
    for item in found:
        name = item.format if formats.count(item.format) == 1 else f"{item.step}.{item.format}"
        path = folder / f"{item.step}.{SUFFIXES.get(item.format, item.format)}"
        written[name] = await asyncio.to_thread(_write, path, await bucket.get(item.ref))
    return written


def _write(path: Path, document: bytes) -> Path:
    if path.exists() and path.read_bytes() != document:
        raise FactoryError(f"{path} exists and holds something else; remove it, or name another folder with -o")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(document)
    return path.resolve()
