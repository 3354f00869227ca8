"""Work with dead letters from outside: what a person may ask for, how an operation goes on, letters as documents."""

import asyncio
import base64
import json
import os
import pwd
import socket
from collections.abc import AsyncIterator

from contracts import encoding
from contracts.errors import FactoryError, MessageError
from contracts.messages import Json
from infra import database, dead_letters, dead_operations
from infra.dead_letters import Contents, Selection
from infra.dead_operations import Operation

OVER = frozenset({"done", "stopped", "canary_failed"})

LOOK_SECONDS = 0.25
"""Between two looks at an operation, which coordinators carry out."""

PAGE = 100
HEX_BYTES = 256


def actor() -> str:
    """Who gives this command, for the record."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


async def find(connection: database.Connection, letter: int) -> Contents:
    """A dead letter with all it holds; raises FactoryError if there is none of this id."""
    found = await dead_letters.contents(connection, {"ids": [letter]}, limit=1)
    if not found:
        raise FactoryError(f"there is no dead letter {letter}; see 'factory dead list'")
    return found[0]


async def operation(connection: database.Connection, number: int) -> Operation:
    """An operation as it stands; raises FactoryError if there is none of this id."""
    found = await dead_operations.listing(connection, number)
    if not found:
        raise FactoryError(f"there is no operation {number}; see 'factory dead operations'")
    return found[0]


async def follow(connection: database.Connection, number: int) -> AsyncIterator[Operation]:
    """The operation now and again and again until it is over; leaving changes nothing about it."""
    while True:
        found = await operation(connection, number)
        yield found
        if found.status in OVER:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def every(connection: database.Connection, selection: Selection) -> AsyncIterator[Contents]:
    """All letters that fit, with all they hold, the oldest first; read in pages, without a long transaction."""
    after = 0
    while page := await dead_letters.contents(connection, selection, after, PAGE):
        for letter in page:
            yield letter
        after = page[-1].id


def body(letter: Contents) -> dict[str, Json]:
    """The body for people and programs: as JSON where it is some, as text where it is that, else in base 64."""
    if letter.body is None:
        return {}
    try:
        text = letter.body.decode()
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(letter.body).decode()}
    try:
        return {"body": text, "message": json.loads(text)}
    except (ValueError, RecursionError):
        return {"body": text}


def shown_body(letter: Contents) -> str:
    """The body as a person reads it."""
    found = body(letter)
    if "message" in found:
        return json.dumps(found["message"], indent=2, ensure_ascii=False)
    if "body" in found:
        return str(found["body"])
    raw = letter.body or b""
    rest = f" … {len(raw)} bytes in all" if len(raw) > HEX_BYTES else ""
    return raw[:HEX_BYTES].hex(" ") + rest


def legible(letter: Contents) -> str:
    """Whether the code that runs here can read the message, and if not, why."""
    if letter.body is None:
        return ""
    try:
        encoding.decode(letter.message_type, letter.body)
    except MessageError as error:
        return str(error)
    return "this version can read it"
