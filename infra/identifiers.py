"""Identifiers that sort by the time they were made."""

import secrets
import time
from uuid import UUID


def new() -> UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then chance, so that indexes grow at one end."""
    milliseconds = time.time_ns() // 1_000_000
    value = (
        (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    )
    return UUID(int=value)
