"""Stories that go on from batch to batch through their traces."""

import base64

import numpy as np
import pytest

from consumers.analysis import clusters, local, stories
from contracts import analysis
from contracts.errors import FactoryError

BRIDGE = (
    "Tarpon Bay mayor resigns over bridge contract",
    "Mayor of Tarpon Bay quits in bridge contract affair",
    "Bridge contract costs Tarpon Bay its mayor",
)
FERRY = ("Ferry to Osk Island cancelled after engine fire", "Engine fire stops the Osk Island ferry")
RAIN = ("Rainfall breaks every March record in the north", "North measures record rainfall in March")


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


async def test_a_story_goes_on_in_a_later_batch(analyst: local.LocalAnalyst) -> None:
    first = await analyst.stories([BRIDGE[0], FERRY[0], BRIDGE[1]])
    assert first.numbers == (0, 1, 0)
    later = await analyst.stories([RAIN[0], BRIDGE[2], FERRY[1], RAIN[1]], first.traces)
    assert later.numbers == (2, 0, 1, 2)
    assert [trace.texts for trace in later.traces] == [3, 2, 2]


async def test_known_traces_keep_their_places_and_new_stories_follow(analyst: local.LocalAnalyst) -> None:
    known = (await analyst.stories([BRIDGE[0], FERRY[0]])).traces
    turned = await analyst.stories([RAIN[0], FERRY[1]], known[::-1])
    assert turned.numbers == (2, 0)
    assert [trace.texts for trace in turned.traces] == [2, 1, 1]


async def test_nothing_new_leaves_the_traces_as_they_are(analyst: local.LocalAnalyst) -> None:
    known = (await analyst.stories([BRIDGE[0], FERRY[0]])).traces
    assert await analyst.stories([], known) == analysis.Stories(numbers=(), traces=known)


async def test_the_same_batches_give_the_same_traces(analyst: local.LocalAnalyst) -> None:
    once, again = [await analyst.stories([*BRIDGE, *FERRY, *RAIN]) for _ in range(2)]
    assert once == again


async def test_the_order_of_batches_decides_only_the_numbers(analyst: local.LocalAnalyst) -> None:
    groups = []
    for batches in (
        ((*BRIDGE[:2], FERRY[0]), (FERRY[1], *RAIN, BRIDGE[2])),
        ((BRIDGE[2], *RAIN), (*FERRY, *BRIDGE[:2])),
    ):
        known: tuple[analysis.StoryTrace, ...] = ()
        found: dict[int, set[str]] = {}
        for batch in batches:
            told = await analyst.stories(batch, known)
            known = told.traces
            for text, number in zip(batch, told.numbers, strict=True):
                found.setdefault(number, set()).add(text)
        groups.append(sorted(map(sorted, found.values())))
    assert groups[0] == groups[1] == sorted(map(sorted, (BRIDGE, FERRY, RAIN)))


async def test_traces_of_another_engine_are_handed_on_and_joined_by_nothing(analyst: local.LocalAnalyst) -> None:
    (known,) = (await analyst.stories([BRIDGE[0]])).traces
    foreign = known.model_copy(update={"engine": "another engine", "vector": "?"})
    told = await analyst.stories([BRIDGE[1], BRIDGE[2]], [foreign])
    assert told.numbers == (1, 1)
    assert told.traces[0] == foreign


@pytest.mark.parametrize("vector", ["not base64!", base64.b64encode(b"short").decode()])
async def test_a_trace_that_cannot_be_read_is_named(analyst: local.LocalAnalyst, vector: str) -> None:
    (known,) = (await analyst.stories([BRIDGE[0]])).traces
    with pytest.raises(FactoryError, match="trace"):
        await analyst.stories([BRIDGE[1]], [known.model_copy(update={"vector": vector})])


@pytest.mark.parametrize("letter", ["w", "\u00e4", "\u0436", "\u6f22", "\U0001d53e"])
async def test_a_trace_takes_at_most_four_kibibytes(analyst: local.LocalAnalyst, letter: str) -> None:
    texts = [" ".join(f"{letter * 40}{line}x{word}" for word in range(60)) for line in range(30)]
    told = await analyst.stories([*texts, *BRIDGE])
    assert max(len(trace.model_dump_json().encode()) for trace in told.traces) <= 4096


async def test_more_texts_than_a_batch_take_their_turns(analyst: local.LocalAnalyst) -> None:
    texts = [BRIDGE[0], *(f"Fixture {number} of the {number} league" for number in range(stories.BATCH)), BRIDGE[1]]
    told = await analyst.stories(texts)
    assert told.numbers[0] == told.numbers[-1]
    assert sum(trace.texts for trace in told.traces) == len(texts)


async def test_texts_without_words_tell_stories_of_their_own(analyst: local.LocalAnalyst) -> None:
    assert (await analyst.stories(["", "!!!", BRIDGE[0]])).numbers == (0, 1, 2)


async def test_a_text_without_words_makes_no_others_join(analyst: local.LocalAnalyst) -> None:
    known = (await analyst.stories([BRIDGE[0], FERRY[0]])).traces
    told = await analyst.stories(["", *RAIN, BRIDGE[1]], known)
    assert told.numbers == (2, 3, 3, 0)


async def test_articles_on_one_topic_are_several_stories(analyst: local.LocalAnalyst) -> None:
    texts = [
        "Solar farm opens near Lund\nA solar farm of forty hectares opened near Lund on Monday after two years.",
        "Grid fees to rise for solar homes\nThe regulator wants owners of solar roofs to pay higher grid fees soon.",
        "New cell doubles solar yield in lab\nResearchers in Delft report a cell that doubles what films give.",
        "Lund solar farm starts work\nThe new solar farm near Lund, forty hectares large, sent first power on Monday.",
    ]
    assert (await analyst.stories(texts)).numbers == (0, 1, 2, 0)


def test_what_is_minus_infinity_apart_never_comes_together() -> None:
    similarities = np.array([[1, -np.inf, 0.9], [-np.inf, 1, 0.8], [0.9, 0.8, 1]])
    assert clusters.average_link(similarities, 0.1) == [0, 1, 0]


def test_a_row_counts_for_as_many_texts_as_it_stands_for() -> None:
    # With the second row as one text the pair is .5 alike to the third on average, with nine of them .14.
    similarities = np.array([[1, 0.9, 0.9], [0.9, 1, 0.05], [0.9, 0.05, 1]])
    assert clusters.average_link(similarities, 0.4) == [0, 0, 0]
    assert clusters.average_link(similarities, 0.4, [1, 9, 1]) == [0, 0, 1]
