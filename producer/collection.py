"""A folder of feeds as the demonstration serves it: which files there are, and what is known of each."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from contracts import artifacts
from contracts.errors import FactoryError

SUFFIXES = frozenset({".xml", ".json", ".rss", ".atom", ".rdf", ".html"})
INDEX = "index.tsv"
SAMPLES = Path(__file__).parent / "samples"


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """One file of the folder, with what its index says of it."""

    path: str
    title: str
    topics: tuple[str, ...] = ()
    site: str = ""
    language: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Collection:
    """The feeds of a folder."""

    folder: Path
    feeds: tuple[Feed, ...]

    def catalogue(self, address: str) -> artifacts.Catalogue:
        """The feeds as sources at the server that serves them."""
        return artifacts.Catalogue(
            records=tuple(
                artifacts.CatalogueEntry(
                    url=f"http://{address}/{quote(feed.path)}",
                    title=feed.title,
                    # A feed without a site is one of its own: the bound per site must not take the server for it.
                    site=feed.site or feed.path,
                    language=feed.language,
                    topics=feed.topics,
                )
                for feed in self.feeds
            )
        )


def path_of(url: str) -> str:
    """The file that a URL of the served folder names."""
    return unquote(urlsplit(url).path.lstrip("/"))


def samples() -> Collection:
    """The feeds that come with the project."""
    folder = SAMPLES / "feeds"
    return Collection(folder, _feeds(folder, _rows(SAMPLES / "catalogue.tsv", "path", "topics")))


def of_folder(folder: Path) -> Collection:
    """Every feed of a folder, named by its index.tsv where it has one; raises FactoryError where there is none."""
    if not folder.is_dir():
        raise FactoryError(f"there is no folder {folder}; give one that holds feeds")
    index = folder / INDEX
    known = _rows(index, "filename", "topic") if index.exists() else {}
    feeds = _feeds(folder, known)
    if not feeds:
        raise FactoryError(f"{folder} holds no feeds; they are files that end in {', '.join(sorted(SUFFIXES))}")
    return Collection(folder, feeds)


def _feeds(folder: Path, known: dict[str, Feed]) -> tuple[Feed, ...]:
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return tuple(known.get(name) or Feed(name, name) for name in names)


def _rows(path: Path, name: str, topics: str) -> dict[str, Feed]:
    try:
        lines = io.StringIO(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise FactoryError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8, or remove it") from error
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if name not in (rows.fieldnames or ()):
        raise FactoryError(f"the first line of {path} lacks the column '{name}'; add it, or remove the file")
    return {feed.path: feed for feed in (_feed(row, name, topics) for row in rows)}


def _feed(row: dict[str, str | None], name: str, topics: str) -> Feed:
    values = {key: (value or "").strip() for key, value in row.items()}
    site = values.get("site", "")
    return Feed(
        path=values[name],
        title=values.get("title") or values[name],
        topics=tuple(_split(values.get(topics, "").split(","))),
        site=urlsplit(site).hostname or site,
        language=values.get("language", ""),
    )


def _split(parts: Iterable[str]) -> Iterable[str]:
    return (part.strip() for part in parts if part.strip())
