"""What an engine makes of labelled data, asked the same way as the stages of the pipeline ask it."""

import collections
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from benchmarks.quality import metrics, reading
from consumers.analysis import text
from consumers.stages.common import lexicon, sources
from contracts import analysis, artifacts

T = TypeVar("T")
Figures = dict[str, Any]

ARRIVING = 200
"""Headlines that arrive at a time: as many articles as a run of the pipeline brings."""

LEAD = 3
FREQUENT = 20
DIGITS = 4

OWN_SENTENCES = 0.8
"""The share of a reference that sentences of the article must make up for it to be counted in them."""


class Stopwatch:
    """Process time, of all threads, of what is awaited through it, and for how many articles."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.articles = 0

    async def time(self, articles: int, work: Awaitable[T]) -> T:
        """The result of the work on so many articles."""
        started = time.process_time()
        result = await work
        self.seconds += time.process_time() - started
        self.articles += articles
        return result


async def relevance(
    analyst: analysis.Analyst, articles: Sequence[reading.Article], phrase: Callable[[str], str], watch: Stopwatch
) -> Figures:
    """Ranking of all articles by each topic's phrase alone, and how often the best topic is the right one."""
    labels = list(dict.fromkeys(article.topic for article in articles if article.topic))
    held = np.array([article.topic for article in articles])
    bodies = [article.whole for article in articles]
    scores = []
    for label in labels:
        assessed = await watch.time(len(bodies), analyst.assess(lexicon.topic(phrase(label)), bodies))
        scores.append([assessment.relevance for assessment in assessed])
    precisions = [metrics.average_precision(row, held == label) for label, row in zip(labels, scores, strict=True)]
    areas = [metrics.area_under_curve(row, held == label) for label, row in zip(labels, scores, strict=True)]
    known = [area for area in areas if area is not None]
    labelled = held != ""
    best = np.array(labels)[np.array(scores).argmax(axis=0)]
    return {
        "mean_average_precision": _mean(precisions),
        "auc": _mean(known) if known else None,
        "accuracy": _mean((best == held)[labelled].tolist()),
        "topics": {
            label: {"phrase": phrase(label), "average_precision": round(precision, DIGITS)}
            for label, precision in zip(labels, precisions, strict=True)
        },
    }


async def summaries(analyst: analysis.Analyst, articles: Sequence[reading.Article]) -> Figures:
    """ROUGE of our summaries, of the first three sentences and of LexRank, with as many sentences as the reference."""
    totals: dict[str, list[metrics.Rouge]] = {"ours": [], "lead3": [], "lexrank": []}
    for article in articles:
        if article.summary:
            sentences = text.sentences(article.text)
            budget = budget_of(article.summary, sentences)
            (ours,) = await analyst.summarise([article.text], budget)
            lexrank = metrics.lexrank(sentences, budget)
            for method, summary in (("ours", ours), ("lead3", " ".join(sentences[:LEAD])), ("lexrank", lexrank)):
                totals[method].append(metrics.rouge(summary, article.summary))
    return {
        method: {measure: _mean([getattr(each, measure) for each in found]) for measure in metrics.Rouge._fields}
        for method, found in totals.items()
    }


def budget_of(reference: str, sentences: Sequence[str]) -> int:
    """The number of sentences of a reference; of the article's own where it is put together from them.

    Such references often have no space between their sentences, so that they cannot be told apart otherwise.
    """
    own = [sentence for sentence in dict.fromkeys(sentences) if sentence in reference]
    if sum(map(len, own)) >= OWN_SENTENCES * len(reference):
        return len(own)
    return max(1, len(text.sentences(reference)))


async def duplicates(analyst: analysis.Analyst, copies: reading.Copies, watch: Stopwatch) -> Figures:
    """Pairs of articles that nearly repeat each other, among all that were looked through."""
    bodies = [article.whole for article in copies.articles]
    found = await watch.time(len(bodies), analyst.duplicates(bodies))
    return _grouping(
        metrics.pairs_within(found), set(copies.pairs), found, metrics.groups(len(bodies), sorted(copies.pairs))
    )


async def stories(analyst: analysis.Analyst, headlines: Sequence[reading.Headline]) -> Figures:
    """Stories of headlines that arrive in the order of the file, some hundred at a time, carried on by their traces."""
    found: list[int] = []
    known: tuple[analysis.StoryTrace, ...] = ()
    for start in range(0, len(headlines), ARRIVING):
        titles = [headline.title for headline in headlines[start : start + ARRIVING]]
        told = await analyst.stories(titles, known)
        found += told.numbers
        known = told.traces
    expected = [headline.story for headline in headlines]
    return {
        **_grouping(metrics.pairs_within(found), metrics.pairs_within(expected), found, expected),
        "found": len(set(found)),
        "expected": len(set(expected)),
    }


def _grouping(
    found_pairs: metrics.Pairs, expected_pairs: metrics.Pairs, found: Sequence[Any], expected: Sequence[Any]
) -> Figures:
    pairs = metrics.pairwise(found_pairs, expected_pairs)
    return {
        "precision": round(pairs.precision, DIGITS),
        "recall": round(pairs.recall, DIGITS),
        "pairwise_f1": round(pairs.f1, DIGITS),
        "bcubed_f1": round(metrics.bcubed(found, expected).f1, DIGITS),
    }


async def feeds(analyst: analysis.Analyst, catalogue: artifacts.Catalogue) -> Figures:
    """nDCG@10 of feeds for the most frequent topics by the words of their paths: with tags, and from title and site."""
    entries = catalogue.records
    frequent = collections.Counter(tag for entry in entries for tag in entry.topics).most_common(FREQUENT)
    bare = [entry.model_copy(update={"topics": (), "url": f"https://{entry.site}/"}) for entry in entries]
    result: Figures = {}
    for name, described in (("with_tags", entries), ("title_and_site", bare)):
        gains = {}
        for tag, _ in frequent:
            topic = lexicon.topic(tag.replace("/", " "))
            scores = await analyst.rank(topic, [sources.document(entry) for entry in described])
            held = [tag in entry.topics for entry in entries]
            gains[tag] = metrics.gain_at_ten(scores, held)
        result[name] = {
            "ndcg_at_10": _mean(list(gains.values())),
            "topics": {tag: round(gain, DIGITS) for tag, gain in gains.items()},
        }
    return result


def speed(relevance: Stopwatch, identity: Stopwatch) -> Figures:
    """Articles a second and core: for relevance to one topic, for identity, and for both where both were measured."""
    found = {
        name: watch.articles / watch.seconds
        for name, watch in (("relevance", relevance), ("identity", identity))
        if watch.seconds
    }
    if len(found) == 2:
        found["both"] = 1 / sum(1 / rate for rate in found.values())
    return {name: {"articles_per_second_and_core": round(rate)} for name, rate in found.items()}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), DIGITS)
