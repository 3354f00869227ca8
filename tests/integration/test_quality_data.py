"""How well the local engine does on labelled news: floors somewhat below what was measured, to show a regression."""

from pathlib import Path

import pytest

from benchmarks.quality import measuring, reading
from consumers.analysis import local
from consumers.stages.common import lexicon
from producer import datasets

DATA = Path(__file__).parents[3] / "shared" / "data" / "eval"
NEWS = "bbc_news_summary.jsonl"

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the labelled data is not there: {DATA}")


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


@pytest.fixture(scope="module")
def folder() -> reading.Folder:
    return reading.read(DATA)


@needs_data
async def test_relevance_from_the_bare_phrase(analyst: local.LocalAnalyst, folder: reading.Folder) -> None:
    found = await measuring.relevance(
        analyst, folder.articles[NEWS], lambda label: folder.phrase(NEWS, label), measuring.Stopwatch()
    )
    assert found["mean_average_precision"] >= 0.94
    assert found["auc"] >= 0.98
    assert found["accuracy"] >= 0.92


@needs_data
async def test_what_passes_the_cut_is_about_the_topic(analyst: local.LocalAnalyst, folder: reading.Folder) -> None:
    articles = folder.articles[NEWS]
    accepted = correct = 0
    for label in sorted({article.topic for article in articles}):
        found = await analyst.assess(lexicon.topic(folder.phrase(NEWS, label)), [article.whole for article in articles])
        passed = [article.topic for article, assessment in zip(articles, found, strict=True) if assessment.relevant]
        accepted += len(passed)
        correct += passed.count(label)
    assert correct / accepted >= 0.93
    assert correct / len(articles) >= 0.60


@needs_data
async def test_near_duplicates(analyst: local.LocalAnalyst, folder: reading.Folder) -> None:
    copies = folder.duplicates["bbc_duplicate_candidates.tsv"]
    found = await measuring.duplicates(analyst, copies, measuring.Stopwatch())
    assert found["pairwise_f1"] >= 0.98


@needs_data
async def test_headlines_join_their_story_as_they_arrive(analyst: local.LocalAnalyst, folder: reading.Folder) -> None:
    found = await measuring.stories(analyst, folder.stories["stories.tsv"])
    assert found["pairwise_f1"] >= 0.90
    assert found["bcubed_f1"] >= 0.90


@needs_data
async def test_headlines_in_no_order_still_find_most_of_their_story(
    analyst: local.LocalAnalyst, folder: reading.Folder
) -> None:
    headlines = folder.stories["stories.tsv"]
    scattered = sorted(headlines, key=lambda headline: headline.id[::-1])
    found = await measuring.stories(analyst, scattered)
    assert found["pairwise_f1"] >= 0.75
    assert found["bcubed_f1"] >= 0.74


@needs_data
async def test_summaries_hold_what_people_chose(analyst: local.LocalAnalyst, folder: reading.Folder) -> None:
    found = await measuring.summaries(analyst, folder.articles[NEWS][::10])
    assert found["ours"]["rouge2"] >= 0.71
    assert found["ours"]["rouge2"] >= found["lexrank"]["rouge2"] + 0.1
    assert found["ours"]["rouge2"] >= found["lead3"]["rouge2"] + 0.1


async def test_feeds_for_the_most_frequent_topics_of_the_catalogue(analyst: local.LocalAnalyst) -> None:
    found = await measuring.feeds(analyst, datasets.packaged())
    assert found["with_tags"]["ndcg_at_10"] >= 0.91
    assert found["title_and_site"]["ndcg_at_10"] >= 0.64
