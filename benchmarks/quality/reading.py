"""Labelled data from a folder; what cannot be used is named with file, line and field."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import FactoryError


class Article(NamedTuple):
    """A labelled text; without a label ``topic`` is empty, and so is ``summary`` without a reference."""

    id: str
    topic: str
    title: str
    text: str
    summary: str

    @property
    def whole(self) -> str:
        """Title and text as the pipeline hands them to an engine."""
        return f"{self.title}\n{self.text}" if self.title else self.text


class Headline(NamedTuple):
    """A headline and the story that it tells."""

    id: str
    title: str
    story: str


class Copies(NamedTuple):
    """Pairs of articles that nearly repeat each other, by their places among all articles that were looked through."""

    articles: Sequence[Article]
    pairs: frozenset[tuple[int, int]]


class Folder(NamedTuple):
    """What a folder holds, by the names of its files in alphabetical order."""

    articles: Mapping[str, Sequence[Article]]
    duplicates: Mapping[str, Copies]
    stories: Mapping[str, Sequence[Headline]]
    phrases: Mapping[str, Mapping[str, str]]

    def phrase(self, name: str, label: str) -> str:
        """The phrase for a label of a file; the label itself where no phrase is given."""
        return self.phrases.get(name, {}).get(label, label)


EMPTY = Folder({}, {}, {}, {})


def read(folder: Path) -> Folder:
    """Everything in the folder that can be measured.

    Raises FactoryError that names the file, the line and the field to mend, or says what a folder may hold.
    """
    if not folder.is_dir():
        raise FactoryError(f"{folder} is not a folder; give one with *.jsonl, *duplicate*.tsv or stories*.tsv files")
    files = sorted(folder.glob("*.tsv"))
    articles = {path.name: _articles(path) for path in sorted(folder.glob("*.jsonl"))}
    found = Folder(
        articles,
        {path.name: _copies(path, articles) for path in files if "duplicate" in path.name},
        {path.name: _headlines(path) for path in files if path.name.startswith("stories")},
        _phrases(folder / "topics.json"),
    )
    if not found.articles and not found.stories:
        raise FactoryError(f"{folder} holds neither *.jsonl nor stories*.tsv; see docs/quality.md for the formats")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise FactoryError(f"{path.name}, line {line}: not UTF-8; convert the file") from error
    except OSError as error:
        raise FactoryError(f"{path.name} cannot be read: {error.strerror}") from error


def _articles(path: Path) -> list[Article]:
    found: list[Article] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            article = _article(line, f"{path.name}, line {number}")
            if article.id in lines:
                raise FactoryError(
                    f"{path.name}, line {number}: field 'id' is '{article.id}', as in line {lines[article.id]} already"
                )
            lines[article.id] = number
            found.append(article)
    return found


def _article(line: str, where: str) -> Article:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise FactoryError(f"{where}: not JSON ({error}); each line is one object") from error
    if not isinstance(record, dict):
        raise FactoryError(f"{where}: not an object but {type(record).__name__}; each line is one object")
    optional = {field: _field(record, field, where) for field in ("topic", "title", "summary")}
    required = {field: _field(record, field, where) for field in ("id", "text")}
    for field, value in required.items():
        if not value:
            raise FactoryError(f"{where}: field '{field}' is missing or empty; give a text")
    return Article(**required, **optional)


def _field(record: Mapping[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    if isinstance(value, int) and field in ("id", "topic"):
        return str(value)
    if not isinstance(value, str | None):
        raise FactoryError(f"{where}: field '{field}' is {json.dumps(value)[:60]}; give a text")
    return (value or "").strip()


def _rows(path: Path, fields: Sequence[str]) -> Iterator[list[str]]:
    """The values of the named columns of each row that is not blank; none of them is empty."""
    lines = _text(path).split("\n")
    rows = csv.reader((line.rstrip("\r") for line in lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = next(rows, [])
    for field in fields:
        if field not in columns:
            raise FactoryError(f"{path.name}, line 1: no column '{field}'; name the columns {', '.join(fields)}")
    for number, row in enumerate(rows, start=2):
        if not "".join(row).strip():
            continue
        values = dict(zip(columns, row, strict=False))
        for field in fields:
            if not values.get(field, "").strip():
                raise FactoryError(f"{path.name}, line {number}: field '{field}' is missing or empty")
        yield [values[field].strip() for field in fields]


def _copies(path: Path, files: Mapping[str, Sequence[Article]]) -> Copies:
    pairs = []
    for number, (left, right) in enumerate(_rows(path, ("id_a", "id_b")), start=1):
        if left == right:
            raise FactoryError(f"{path.name}, pair {number}: fields 'id_a' and 'id_b' are both '{left}'; name two")
        pairs.append((left, right))
    articles = _holding(path.name, {each for pair in pairs for each in pair}, files)
    place = {article.id: index for index, article in enumerate(articles)}
    ordered = (sorted((place[left], place[right])) for left, right in pairs)
    return Copies(articles, frozenset((first, second) for first, second in ordered))


def _holding(name: str, wanted: set[str], files: Mapping[str, Sequence[Article]]) -> Sequence[Article]:
    """The articles of the one file that holds all the ids, else of all files that hold one."""
    ids = {file: {article.id for article in articles} for file, articles in files.items()}
    for file, held in ids.items():
        if wanted <= held:
            return files[file]
    needed = [file for file, held in ids.items() if wanted & held]
    seen: dict[str, str] = {}
    for file in needed:
        for twice in sorted(wanted & ids[file] & seen.keys())[:1]:
            raise FactoryError(f"{name}: '{twice}' is an id in {seen[twice]} and in {file}; give it in one of them")
        seen |= dict.fromkeys(ids[file], file)
    for missing in sorted(wanted - seen.keys())[:1]:
        raise FactoryError(f"{name}: field 'id_a' or 'id_b' is '{missing}', an id that no *.jsonl of the folder holds")
    return list({article.id: article for file in needed for article in files[file]}.values())


def _headlines(path: Path) -> list[Headline]:
    return [Headline(*values) for values in _rows(path, Headline._fields)]


def _phrases(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise FactoryError(
            f"{path.name}: not JSON ({error}); map each file to its labels with their phrases"
        ) from error
    if not isinstance(content, dict):
        raise FactoryError(f"{path.name}: not an object; map each file to its labels with their phrases")
    for name, phrases in content.items():
        if not isinstance(phrases, dict):
            raise FactoryError(f"{path.name}: field '{name}' is no object; map the labels of this file to phrases")
        for label, phrase in phrases.items():
            if not isinstance(phrase, str) or not phrase.strip():
                raise FactoryError(f"{path.name}: field '{name}' → '{label}' is no phrase; give a text")
    return content
