"""How well the local engine does on labelled news: floors somewhat below what was measured, to show a regression."""

import collections
import csv
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from consumers.analysis import local, summaries, text
from consumers.stages.common import lexicon, sources
from contracts import analysis
from producer import datasets

DATA = Path(__file__).parents[3] / "shared" / "data" / "eval"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the labelled data is not there: {DATA}")

Pairs = set[tuple[int, int]]


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


@pytest.fixture(scope="module")
def news() -> list[dict[str, str]]:
    with (DATA / "bbc_news_summary.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def stories() -> list[dict[str, str]]:
    with (DATA / "stories.tsv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def average_precision(scores: Sequence[float], relevant: npt.NDArray[np.bool_]) -> float:
    hits = relevant[np.argsort(-np.array(scores), kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def f1(found: Pairs, expected: Pairs) -> float:
    return 2 * len(found & expected) / (len(found) + len(expected))


def pairs_within(labels: Sequence[object]) -> Pairs:
    members: dict[object, list[int]] = collections.defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    return {pair for group in members.values() for pair in itertools.combinations(group, 2)}


async def test_relevance_from_the_bare_phrase(analyst: local.LocalAnalyst, news: list[dict[str, str]]) -> None:
    phrases = json.loads((DATA / "topics.json").read_text("utf-8"))["bbc_news_summary.jsonl"]
    bodies = [f"{article['title']}\n{article['text']}" for article in news]
    topics = np.array([article["topic"] for article in news])
    precisions, accepted, correct, scores = [], 0, 0, []
    for label, phrase in phrases.items():
        found = await analyst.assess(lexicon.topic(phrase), bodies)
        scores.append([assessment.relevance for assessment in found])
        precisions.append(average_precision(scores[-1], topics == label))
        passed = np.array([assessment.relevant for assessment in found])
        accepted += int(passed.sum())
        correct += int((topics[passed] == label).sum())
    best = np.array(list(phrases))[np.array(scores).argmax(axis=0)]
    assert np.mean(precisions) >= 0.94
    assert (best == topics).mean() >= 0.92
    assert correct / accepted >= 0.93
    assert correct / len(news) >= 0.60


async def test_near_duplicates(analyst: local.LocalAnalyst, news: list[dict[str, str]]) -> None:
    number = {article["id"]: index for index, article in enumerate(news)}
    with (DATA / "bbc_duplicate_candidates.tsv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        expected = {tuple(sorted((number[row["id_a"]], number[row["id_b"]]))) for row in rows}
    found = pairs_within(await analyst.duplicates([article["text"] for article in news]))
    assert f1(found, {(pair[0], pair[1]) for pair in expected}) >= 0.97


async def test_headlines_of_one_story_fall_together(analyst: local.LocalAnalyst, stories: list[dict[str, str]]) -> None:
    found = pairs_within(await analyst.themes([row["title"] for row in stories]))
    assert f1(found, pairs_within([row["story"] for row in stories])) >= 0.78


def test_long_summaries_hold_what_people_chose(news: list[dict[str, str]]) -> None:
    ours, leads = [], []
    for article in news[::10]:
        sentences = text.sentences(article["text"])
        budget = sum(sentence in article["summary"] for sentence in sentences)
        reference = text.words(article["summary"].replace(".", ". "))
        ours.append(rouge2(text.words(summaries.summary(article["text"], budget)), reference))
        leads.append(rouge2(text.words(" ".join(sentences[:budget])), reference))
    assert np.mean(ours) >= 0.70
    assert np.mean(ours) >= np.mean(leads) + 0.15


def rouge2(words: Sequence[str], reference: Sequence[str]) -> float:
    found, expected = (collections.Counter(itertools.pairwise(each)) for each in (words, reference))
    return 2 * (found & expected).total() / max(1, found.total() + expected.total())


async def test_feeds_for_the_most_frequent_topics_of_the_catalogue(analyst: local.LocalAnalyst) -> None:
    entries = datasets.packaged().records
    frequent = collections.Counter(tag for entry in entries for tag in entry.topics).most_common(20)
    documents = [sources.document(entry) for entry in entries]
    gains = []
    for tag, holders in frequent:
        topic = lexicon.topic(tag.split("/")[-1])
        scores = np.array(await analyst.rank(topic, documents))
        order = np.argsort(-scores, kind="stable")[:10]
        discounts = 1 / np.log2(np.arange(2, 12))
        held = np.array([tag in entries[index].topics for index in order])
        gains.append((held * discounts).sum() / discounts[: min(10, holders)].sum())
    assert np.mean(gains) >= 0.80


async def test_ten_thousand_short_articles_take_seconds(
    analyst: local.LocalAnalyst, news: list[dict[str, str]]
) -> None:
    bodies = [f"{article['title']}\n{article['text'][:500]} {copy}" for copy in range(5) for article in news][:10_000]
    started = time.process_time()
    await analyst.assess(analysis.Topic(phrase="technology", words=("software", "internet")), bodies)
    await analyst.duplicates(bodies)
    assert time.process_time() - started < 20
