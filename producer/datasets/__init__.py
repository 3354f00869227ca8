"""The data that the project ships: the catalogue of feeds, and the platforms that can be asked for more."""

import csv
import importlib.resources
import pathlib
from collections.abc import Iterable

from contracts import artifacts
from contracts.errors import FactoryError

COLUMNS = ("url", "title", "topics", "language", "site")


def packaged() -> artifacts.Catalogue:
    """The catalogue that comes with the project."""
    return read(importlib.resources.files(__name__).joinpath("catalogue.tsv").read_text("utf-8").splitlines())


def read(source: pathlib.Path | Iterable[str]) -> artifacts.Catalogue:
    """The catalogue in a tab-separated file or its lines, each URL once, sorted by URL.

    ``topics`` are paths separated by commas. Raises FactoryError that names the line and the column to mend.
    """
    if isinstance(source, pathlib.Path):
        return read(source.read_text("utf-8").splitlines())
    rows = csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise FactoryError(f"the catalogue's first line lacks the column '{missing[0]}'; it needs {', '.join(COLUMNS)}")
    found: dict[str, artifacts.CatalogueEntry] = {}
    for number, row in enumerate(rows, start=2):
        entry = _entry(row, number)
        found.setdefault(entry.url, entry)
    return artifacts.Catalogue(records=tuple(found[url] for url in sorted(found)))


def _entry(row: dict[str, str | None], number: int) -> artifacts.CatalogueEntry:
    values = {column: (row[column] or "").strip() for column in COLUMNS}
    if not values["url"].startswith(("http://", "https://")):
        raise FactoryError(f"line {number} of the catalogue: url is '{values['url']}'; give an http or https address")
    topics = tuple(topic.strip() for topic in values["topics"].split(",") if topic.strip())
    return artifacts.CatalogueEntry(
        url=values["url"],
        title=values["title"] or values["url"],
        site=values["site"],
        language=values["language"],
        topics=topics,
    )


def platforms() -> artifacts.Platforms:
    """The platforms that come with the project; all of them answer without a key."""
    lines = importlib.resources.files(__name__).joinpath("platforms.tsv").read_text("utf-8").splitlines()
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return artifacts.Platforms(records=tuple(_platform(row) for row in rows))


def _platform(row: dict[str, str]) -> artifacts.Platform:
    directory = {field: row[field] for field in ("items", "url", "title", "site")}
    return artifacts.Platform.model_validate(
        {field: row[field] for field in ("name", "kind", "search", "quality", "note")}
        | {"suits": row["suits"].split(",") if row["suits"] else (), "directory": directory if row["url"] else None}
    )
