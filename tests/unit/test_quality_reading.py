"""Folders with labelled data: what may be missing, and what is named when it cannot be used."""

import json
from pathlib import Path

import pytest

from benchmarks.quality import __main__ as quality
from benchmarks.quality import reading
from contracts.errors import FactoryError

ARTICLES = (
    {"id": "a/1", "topic": "harbours", "title": "Crane falls", "text": "A crane fell in the harbour. No one was hurt."},
    {"id": "a/2", "topic": "harbours", "title": "Crane falls", "text": "A crane fell in the harbour. No one was hurt."},
    {"id": "b/1", "topic": "orchards", "title": "Apples ripen", "text": "Apples ripen early this year. Pears do not."},
)


def written(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, "utf-8")
    return folder


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_the_harness_measures_what_a_folder_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summarised = [{**article, "summary": article["text"].split(". ")[0] + "."} for article in ARTICLES]
    written(
        tmp_path,
        one__jsonl="\ufeff" + lines(*summarised) + "\n\n",
        other__jsonl=lines({"id": 7, "text": "No topic, no title, no summary."}),
        near_duplicates__tsv="id_a\tid_b\tnote\r\na/1\ta/2\tsame\r\n\r\n",
        stories_1__tsv="id\ttitle\tstory\n1\tCrane falls in harbour\tcrane\n2\tHarbour crane falls\tcrane\n",
        topics__json=json.dumps({"one.jsonl": {"harbours": "ports"}}),
    )
    assert quality.main([str(tmp_path), "--out", str(tmp_path / "quality.json")]) == 0
    figures = json.loads((tmp_path / "quality.json").read_text("utf-8"))
    assert set(figures["relevance"]) == set(figures["summaries"]) == {"one.jsonl"}
    assert {"mean_average_precision", "auc", "accuracy"} <= figures["relevance"]["one.jsonl"].keys()
    phrases = {label: found["phrase"] for label, found in figures["relevance"]["one.jsonl"]["topics"].items()}
    assert phrases == {"harbours": "ports", "orchards": "orchards"}
    assert figures["summaries"]["one.jsonl"]["ours"] == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}
    assert figures["duplicates"]["near_duplicates.tsv"]["pairwise_f1"] == 1.0
    assert figures["stories"]["stories_1.tsv"]["bcubed_f1"] == 1.0
    assert figures["speed"]["both"]["articles_per_second_and_core"] > 0
    assert "mean_average_precision" in capsys.readouterr().out


def test_pairs_may_name_articles_of_two_files(tmp_path: Path) -> None:
    written(
        tmp_path,
        one__jsonl=lines(ARTICLES[0]),
        two__jsonl=lines(ARTICLES[1]),
        three__jsonl=lines(ARTICLES[2]),
        duplicates__tsv="id_a\tid_b\na/2\ta/1\n",
    )
    copies = reading.read(tmp_path).duplicates["duplicates.tsv"]
    assert [article.id for article in copies.articles] == ["a/1", "a/2"]
    assert copies.pairs == {(0, 1)}


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"n__jsonl": '{"id": "1", "text": "x"}\n\n{"id": "2"'}, ["n.jsonl, line 3", "JSON"]),
        ({"n__jsonl": '["id"]'}, ["n.jsonl, line 1", "object"]),
        ({"n__jsonl": '{"id": "1", "topic": "x"}'}, ["n.jsonl, line 1", "'text'"]),
        ({"n__jsonl": '{"text": "x"}'}, ["n.jsonl, line 1", "'id'"]),
        ({"n__jsonl": '{"id": "1", "text": ["x"]}'}, ["n.jsonl, line 1", "'text'", '["x"]']),
        ({"n__jsonl": '{"id": "1", "text": "x"}\n{"id": "1", "text": "y"}'}, ["n.jsonl, line 2", "'id'", "line 1"]),
        ({"stories__tsv": "id\ttitle\n1\tx\n"}, ["stories.tsv, line 1", "'story'"]),
        ({"stories__tsv": "id\ttitle\tstory\n1\tx\ts\n2\ty\n"}, ["stories.tsv, line 3", "'story'"]),
        (
            {"n__jsonl": '{"id": "1", "text": "x"}', "duplicates__tsv": "id_a\tid_b\n1\t9\n"},
            ["duplicates.tsv", "'id_b'", "'9'"],
        ),
        (
            {"n__jsonl": '{"id": "1", "text": "x"}', "duplicates__tsv": "id_a\tid_b\n1\t1\n"},
            ["duplicates.tsv, pair 1", "'1'"],
        ),
        ({"n__jsonl": '{"id": "1", "text": "x"}', "topics__json": "[]"}, ["topics.json"]),
        ({"n__jsonl": '{"id": "1", "text": "x"}', "topics__json": '{"n.jsonl": {"a": 1}}'}, ["topics.json", "'a'"]),
        ({}, ["neither"]),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], named: list[str]
) -> None:
    written(tmp_path, **files)
    assert quality.main([str(tmp_path), "--out", str(tmp_path / "out.json")]) == 2
    message = capsys.readouterr().err
    assert all(part in message for part in named)
    assert not (tmp_path / "out.json").exists()


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "stories.tsv").write_bytes(b"id\ttitle\tstory\n1\tcaf\xe9\ts\n")
    with pytest.raises(FactoryError, match=r"stories.tsv, line 2: not UTF-8"):
        reading.read(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="is not a folder"):
        reading.read(tmp_path / "nowhere")
