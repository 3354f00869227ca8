"""What the local engine promises: sensible judgements, the same ones every time, without a network."""

import random
import subprocess
import sys

import numpy as np
import pytest

from consumers.analysis import clusters, duplicates, local, subjects, summaries
from contracts import analysis
from tests.unit import material

ENERGY = analysis.Topic(
    phrase="renewable energy",
    words=("solar panels", "wind farm", "turbine", "grid", "battery storage", "electricity", "emissions", "carbon"),
    names=("clean energy", "erneuerbare Energien"),
)


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


def lines(body: str) -> list[str]:
    return [line.replace("|", "\n") for line in body.splitlines()]


TEXTS = [*lines(material.ENERGY), *lines(material.OTHER)]
ABOUT = len(lines(material.ENERGY))


async def test_articles_on_the_topic_score_above_all_others(analyst: local.LocalAnalyst) -> None:
    scores = [found.relevance for found in await analyst.assess(ENERGY, TEXTS)]
    assert min(scores[:ABOUT]) > max(scores[ABOUT:])
    assert all(0 <= score <= 1 for score in scores)


async def test_most_articles_on_the_topic_pass_and_no_other_does(analyst: local.LocalAnalyst) -> None:
    passed = [found.relevant for found in await analyst.assess(ENERGY, TEXTS)]
    assert sum(passed[:ABOUT]) >= ABOUT - 1
    assert not any(passed[ABOUT:])


async def test_a_topic_that_nothing_is_about_finds_nothing(analyst: local.LocalAnalyst) -> None:
    found = await analyst.assess(analysis.Topic(phrase="medieval coinage"), TEXTS)
    assert not any(assessment.relevant for assessment in found)


async def test_a_name_in_another_language_is_recognised(analyst: local.LocalAnalyst) -> None:
    german = "Erneuerbare Energien decken die Hälfte\nErneuerbare Energien decken erstmals die Hälfte des Bedarfs."
    (*_, judged) = await analyst.assess(ENERGY, [*TEXTS, german])
    assert judged.relevant


async def test_the_order_of_the_texts_does_not_matter(analyst: local.LocalAnalyst) -> None:
    order = list(range(len(TEXTS)))
    random.Random(1).shuffle(order)
    straight = await analyst.assess(ENERGY, TEXTS)
    shuffled = await analyst.assess(ENERGY, [TEXTS[index] for index in order])
    assert [straight[index] for index in order] == shuffled


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "import asyncio; from consumers.analysis import local; from tests.unit import test_analysis_engine as t;"
        "a = local.packaged(); print(asyncio.run(a.assess(t.ENERGY, t.TEXTS)), asyncio.run(a.themes(t.TEXTS)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_engine_needs_no_network_and_no_code_that_could_use_it() -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network used')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from consumers.analysis import local\n"
        "local.packaged()\n"
        "assert 'wordllama' not in sys.modules and 'requests' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_short_documents_are_ranked_by_name_then_by_meaning(analyst: local.LocalAnalyst) -> None:
    documents = ["Renewable Energy World", "Wind power and solar news", "Cricket weekly", "Fashion notes"]
    scores = await analyst.rank(ENERGY, documents)
    assert scores[0] > scores[1] > max(scores[2:])


async def test_nothing_fits_where_no_document_fits(analyst: local.LocalAnalyst) -> None:
    scores = await analyst.rank(analysis.Topic(phrase="beekeeping"), ["Cricket weekly", "Java blog", "Fashion notes"])
    assert max(scores) < 0.3


async def test_categories_are_those_a_reader_expects(analyst: local.LocalAnalyst) -> None:
    found = await analyst.categorise(TEXTS)
    assert set(found[:ABOUT]) == {"Climate & energy"}
    assert found[ABOUT] == "Sport"
    assert {"Culture", "Crime & justice", "Health"} <= set(found[ABOUT:])


async def test_every_category_is_one_of_the_subjects(analyst: local.LocalAnalyst) -> None:
    assert set(await analyst.categorise(TEXTS)) <= {subject.category for subject in subjects.load()}


async def test_the_same_event_in_other_words_is_one_story(analyst: local.LocalAnalyst) -> None:
    texts = [
        "Tarpon Bay mayor resigns over bridge contract\nThe mayor of Tarpon Bay resigned on Friday over a contract.",
        "Mayor of Tarpon Bay quits in bridge contract affair\nThe mayor of Tarpon Bay left over a bridge contract.",
        "Rainfall breaks record in the north\nMore rain fell in the north than in any March before.",
    ]
    stories = (await analyst.stories(texts)).numbers
    assert stories[0] == stories[1] != stories[2]


async def test_empty_collections_have_empty_answers(analyst: local.LocalAnalyst) -> None:
    assert await analyst.assess(ENERGY, []) == []
    assert await analyst.rank(ENERGY, []) == []
    assert await analyst.themes([]) == []
    assert await analyst.stories([]) == analysis.Stories(numbers=(), traces=())
    assert await analyst.categorise([]) == []
    assert await analyst.duplicates([]) == []
    assert await analyst.summarise([], 3) == []


@pytest.mark.parametrize("body", ["", "   ", "!!!", "\u200b", "x", "a" * 50_000, "🎉🎉🎉"])
async def test_odd_texts_are_judged_irrelevant_without_error(analyst: local.LocalAnalyst, body: str) -> None:
    (*_, judged) = await analyst.assess(ENERGY, [*TEXTS, body])
    assert not judged.relevant
    assert len(await analyst.categorise([body])) == 1
    assert len(await analyst.themes([body, *TEXTS])) == len(TEXTS) + 1


def test_an_edited_copy_and_a_teaser_repeat_the_original() -> None:
    original = TEXTS[0]
    teaser = original.split("Its panels")[0] + "Its panels give electricity to 200,000 homes."
    edited = original.replace("Monday", "Tuesday") + " Subscribe to our newsletter."
    assert duplicates.repeats([original, TEXTS[1], teaser, edited, original]) == [0, 1, 0, 0, 0]


def test_texts_that_share_a_turn_of_phrase_do_not_repeat_each_other() -> None:
    assert duplicates.repeats(TEXTS) == list(range(len(TEXTS)))


def test_short_texts_repeat_only_if_they_are_equal() -> None:
    assert duplicates.repeats(["Rain again", "Rain again!", "Rain again today", "", ""]) == [0, 0, 2, 3, 4]


def test_short_summaries_are_the_lead() -> None:
    body = "One is the first sentence. Two is the second sentence. Three is the third sentence. Four is the fourth one."
    assert summaries.summary(body, 2) == "One is the first sentence. Two is the second sentence."


def test_long_summaries_cover_the_words_in_the_original_order() -> None:
    filler = "He nodded at her then. She smiled at him again. They both left at noon."
    carrying = (
        "The reactor cooling pump failed. The reactor cooling tank leaked. The cooling pump and reactor were shut."
    )
    found = summaries.summary(f"The reactor runs. {filler} {carrying} A reactor pump costs much.", 4)
    assert "They both left" not in found
    assert found.index("pump failed") < found.index("tank leaked") < found.index("were shut")


def test_average_link_agrees_with_merging_the_closest_pair_again_and_again() -> None:
    generator = np.random.default_rng(7)
    for size in (1, 2, 9, 25):
        points = generator.normal(size=(size, 4)).astype(np.float32)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        assert clusters.average_link(points @ points.T, 0.3) == naive_average_link(points @ points.T, 0.3)


def naive_average_link(similarities: clusters.Similarities, threshold: float) -> list[int]:
    groups = [[row] for row in range(len(similarities))]
    while len(groups) > 1:
        means = {
            (left, right): float(similarities[np.ix_(groups[left], groups[right])].mean())
            for left in range(len(groups))
            for right in range(left + 1, len(groups))
        }
        (left, right), best = max(means.items(), key=lambda item: item[1])
        if best < threshold:
            break
        groups[left] += groups.pop(right)
    return clusters.numbered(dict(enumerate(groups)), len(similarities))


def test_one_pass_keeps_separate_what_is_separate() -> None:
    points = np.array([[1, 0], [0, 1], [0.99, 0.1], [0.1, 0.99], [1, 0.05]], np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert clusters.one_pass(points, 0.5) == [0, 1, 0, 1, 0]
