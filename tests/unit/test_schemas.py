"""The generated documents are those of the models, and the AsyncAPI document holds together."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from contracts import encoding, schema, tiers, topology
from docs import generate

GENERATED = generate.files()
ASYNCAPI: dict[str, Any] = json.loads(GENERATED["asyncapi.json"])


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_current(name: str) -> None:
    path = generate.FOLDER / name
    assert path.is_file(), f"docs/{name} is missing; run `make docs`"
    assert path.read_text(encoding="utf-8") == GENERATED[name], f"docs/{name} is out of date; run `make docs`"


def test_no_file_is_left_of_a_model_that_is_gone() -> None:
    assert {f"schemas/{path.name}" for path in (generate.FOLDER / "schemas").iterdir()} == {
        name for name in GENERATED if name.startswith("schemas/")
    }


def test_every_message_and_every_input_and_output_of_a_stage_has_a_schema() -> None:
    from_messages = set(encoding.ALL)
    assert from_messages | {"DataRef", "Report", "SourceList", "LibrarianInput", "Template"} <= set(
        schema.json_schemas()
    )


@pytest.mark.parametrize("name", schema.json_schemas())
def test_a_schema_is_complete_in_itself(name: str) -> None:
    document = schema.json_schemas()[name]
    assert document["additionalProperties"] is False
    for reference in references(document):
        assert resolved(document, reference) is not None, reference


def references(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def resolved(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), f"{reference} leads out of the document"
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_asyncapi_has_the_parts_that_version_3_requires() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert ASYNCAPI["info"]["title"]
    assert ASYNCAPI["info"]["version"]
    for server in ASYNCAPI["servers"].values():
        assert {"host", "protocol"} <= set(server)
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in ("send", "receive")


def test_every_reference_of_asyncapi_leads_to_something() -> None:
    found = list(references(ASYNCAPI))
    assert len(found) > 100
    for reference in found:
        assert resolved(ASYNCAPI, reference) is not None, reference


def test_operations_use_messages_of_their_own_channel() -> None:
    for name, operation in ASYNCAPI["operations"].items():
        for part in (operation, *([operation["reply"]] if "reply" in operation else [])):
            for message in part["messages"]:
                assert message["$ref"].startswith(part["channel"]["$ref"] + "/messages/"), name


def test_every_message_travels_on_a_channel_and_every_channel_is_used() -> None:
    channels = ASYNCAPI["channels"]
    assert {name for channel in channels.values() for name in channel["messages"]} == set(encoding.ALL)
    assert {part["channel"]["$ref"].rpartition("/")[2] for part in ASYNCAPI["operations"].values()} == set(channels)


def test_the_parameters_of_an_address_are_described() -> None:
    for channel in ASYNCAPI["channels"].values():
        named = set(re.findall(r"{(\w+)}", channel["address"] or ""))
        assert named == set(channel.get("parameters", {}))
        assert all(parameter["description"] for parameter in channel.get("parameters", {}).values())


def test_channels_are_the_exchanges_queues_and_keys_of_the_topology() -> None:
    declared = {queue.name: queue for queue in topology.queues(["feed_fetcher"])}
    described = set()
    for channel in schema.CHANNELS:
        assert channel.exchange is None or channel.exchange in topology.EXCHANGES
        for tier in tiers.Tier:
            if channel.queue is None:
                continue
            queue = declared[channel.queue.format(stage="feed_fetcher", tier=tier)]
            described.add(queue.name)
            assert queue.kind == channel.kind
            if channel.exchange:
                address = (channel.address or "").format(stage="feed_fetcher", tier=tier)
                assert queue.bindings == ((channel.exchange, address),)
    assert described == set(declared) - {topology.DEAD_LETTERS}
