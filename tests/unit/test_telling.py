"""The local engine tells stories by quoting, says where figures differ, and judges what evidence bears."""

import pytest

from consumers.analysis import differences, local, quoting, telling
from contracts.analysis import Evidence, Telling, Told


def evidence(identifier: str, title: str, text: str, site: str | None = None) -> Evidence:
    host = site or f"{identifier}.example"
    return Evidence(id=identifier, title=title, text=text, source=f"The {identifier.title()}", site=host)


BRIDGE = evidence(
    "herald",
    "Bridge collapses in Tarpon Bay",
    "The old bridge in Tarpon Bay collapsed on Friday and 12 people were injured. "
    "Engineers had warned of rust for years. Traffic is sent over the northern road. "
    "The collapse threatens the supply of the harbour, the port authority said. Sign up for our newsletter.",
)
AGAIN = evidence(
    "courier",
    "Tarpon Bay bridge falls",
    "A bridge fell in Tarpon Bay on Friday, and 15 people were injured. "
    "Divers search the river below the bridge for two lorries until tomorrow evening.",
)


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


def test_a_story_begins_with_its_leading_article_and_adds_what_others_know() -> None:
    told = telling.tell([BRIDGE, AGAIN])
    assert told.title == "Bridge collapses in Tarpon Bay"
    assert [sentence.evidence for sentence in told.happened] == [("herald",)] * 3 + [("courier",)]
    assert "Divers search" in told.happened[-1].text
    assert all("newsletter" not in sentence.text for sentence in told.happened)


def test_every_sentence_is_quoted_from_what_it_cites() -> None:
    texts = {each.id: each.text for each in (BRIDGE, AGAIN)}
    told = telling.tell([BRIDGE, AGAIN])
    assert told.matters is not None
    assert "threatens the supply" in told.matters.text
    for sentence in (*told.happened, told.matters):
        assert sentence.text in texts[sentence.evidence[0]]


def test_a_story_without_text_is_told_by_its_title() -> None:
    told = telling.tell([evidence("herald", "Bridge collapses", "")])
    assert told == Telling(title="Bridge collapses", happened=(Told(text="Bridge collapses", evidence=("herald",)),))


def test_bracketed_numbers_and_datelines_are_not_quoted() -> None:
    assert quoting.clean("The bridge [12] fell.[3]") == "The bridge fell."
    assert quoting.clean("TARPON BAY, Feb 17 (Reuters) - The bridge fell.") == "The bridge fell."


def test_figures_that_differ_between_sites_are_told_with_both() -> None:
    (told,) = differences.between([BRIDGE, AGAIN])
    assert told.evidence == ("herald", "courier")
    assert told.text == (
        "Sources differ: The Herald has “12 people were injured”, The Courier has “15 people were injured”."
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12 people were injured in the fall.", "12 people were injured in the fall."),
        ("12 people were injured in the fall.", "300 people were injured in the fall."),
        ("12 people were injured in the fall.", "15 people signed a petition against noise."),
        ("The bridge stood for 12 years in the bay.", "The bridge stood for 15 years in the bay."),
        ("It fell on 12 March in the bay.", "It fell on 15 March in the bay."),
        ("12 people were injured, later 14 people were injured.", "15 people were injured in the fall."),
        ("About 1,000 homes lost power.", "Some 1,010 homes lost power."),
    ],
)
def test_figures_that_do_not_contradict_are_left_alone(one: str, other: str) -> None:
    assert differences.between([evidence("a", "A bridge", one), evidence("b", "A bridge", other)]) == ()


def test_one_site_does_not_contradict_itself() -> None:
    later = AGAIN.model_copy(update={"site": BRIDGE.site})
    assert differences.between([BRIDGE, later]) == ()


def test_scales_and_thousands_are_read_before_figures_are_compared() -> None:
    one = evidence("a", "Loan", "The port takes a loan of $1.2 million dollars for the repair of its quay.")
    same = evidence("b", "Loan", "The port takes a loan of $1,200,000 dollars for the repair of its quay.")
    more = evidence("c", "Loan", "The port takes a loan of $2.5 million dollars for the repair of its quay.")
    assert differences.between([one, same]) == ()
    assert len(differences.between([one, more])) == 1


def test_a_summary_takes_one_sentence_of_each_story_before_a_second_one() -> None:
    first, second = telling.tell([BRIDGE]), telling.tell([AGAIN])
    found = telling.brief([first, second], 3)
    assert [told.evidence for told in found] == [("herald",), ("courier",), ("courier",)]


HARBOUR = (
    "The harbour of Tarpon Bay will be closed until April. Mayor Ines Okafor said that repairs cost $3.5 million. "
    "Two ships wait outside. Fishermen protested against the decision on Monday."
)


@pytest.mark.parametrize(
    "claim",
    [
        "Mayor Ines Okafor said that repairs cost $3.5 million.",
        "Repairs of the harbour cost $3.5 million, according to Ines Okafor.",
        "Fishermen protested on Monday against closing the harbour of Tarpon Bay.",
        "Outside wait 2 ships.",
    ],
)
async def test_what_the_evidence_says_is_borne_out(analyst: local.LocalAnalyst, claim: str) -> None:
    (found,) = await analyst.support([claim], [[HARBOUR]])
    assert found.supported, found


@pytest.mark.parametrize(
    ("claim", "missing"),
    [
        ("Mayor Ines Okafor said that repairs cost $4.5 million.", "4.5"),
        ("Mayor Jonas Okafor said that repairs cost $3.5 million.", "Jonas"),
        ("The harbour of Marlin Bay will be closed until April.", "Marlin"),
        ("Three ships wait outside the harbour.", "3"),
    ],
)
async def test_a_changed_name_or_number_is_found(analyst: local.LocalAnalyst, claim: str, missing: str) -> None:
    (found,) = await analyst.support([claim], [[HARBOUR]])
    assert not found.supported
    assert missing in found.missing


async def test_another_subject_is_not_borne_out(analyst: local.LocalAnalyst) -> None:
    claims = ["The orchestra gave a concert in the old tram depot.", "Anything at all."]
    first, second = await analyst.support(claims, [[HARBOUR], []])
    assert (first.supported, first.missing) == (False, ())
    assert (second.supported, second.support) == (False, 0.0)


@pytest.mark.parametrize(
    ("claim", "held"),
    [("5 people were injured", "15 people were injured"), ("500 jobs go", "Some 1,500 jobs go by the summer.")],
)
async def test_a_number_that_ends_like_another_is_another(analyst: local.LocalAnalyst, claim: str, held: str) -> None:
    (found,) = await analyst.support([claim], [[held]])
    assert not found.supported


def test_decimal_commas_are_no_contradiction() -> None:
    one = evidence("a", "Growth", "The port expects 2,0 Prozent Wachstum in diesem Hafen.")
    other = evidence("b", "Growth", "Der Hafen erwartet 2 Prozent Wachstum in diesem Hafen.")
    assert differences.between([one, other]) == ()
