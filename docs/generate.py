"""Writes the JSON Schemas and the AsyncAPI document of the contracts into this folder."""

import json
from pathlib import Path

from contracts import schema
from contracts.messages import Json

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """The text of every generated file by its path in this folder."""
    documents: dict[str, Json] = {f"schemas/{name}.json": found for name, found in schema.json_schemas().items()}
    documents["asyncapi.json"] = schema.asyncapi()
    return {name: json.dumps(found, indent=2, ensure_ascii=False) + "\n" for name, found in documents.items()}


def main() -> None:
    """Replace what is there."""
    (FOLDER / "schemas").mkdir(exist_ok=True)
    for stale in (FOLDER / "schemas").glob("*.json"):
        stale.unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
