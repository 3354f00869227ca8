"""The measures of quality on examples that can be worked out by hand."""

import itertools
import random

import pytest

from benchmarks.quality import measuring, metrics


def test_average_precision_is_the_mean_precision_at_each_hit() -> None:
    assert metrics.average_precision([0.9, 0.8, 0.7, 0.1], [True, False, True, False]) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision([0.9, 0.8], [False, False]) == 0


def test_area_under_the_curve_counts_pairs_and_ties_as_half() -> None:
    # Of the four pairs of good and bad, (.9, .5), (.9, .1) and (.5, .1) are in order and (.5, .5) is even.
    assert metrics.area_under_curve([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 3.5 / 4
    assert metrics.area_under_curve([0.9, 0.5], [True, True]) is None


def test_gain_at_ten_discounts_by_place() -> None:
    assert metrics.gain_at_ten([0.9, 0.8, 0.7], [True, False, True]) == pytest.approx(
        (1 + 0.5) / (1 + 0.6309), abs=1e-4
    )
    assert metrics.gain_at_ten([0.9, 0.8], [False, False]) == 0


def test_what_stands_below_the_tenth_place_gains_nothing() -> None:
    assert metrics.gain_at_ten([*range(11)], [True, *[False] * 10]) == 0


def test_pairwise_agreement() -> None:
    found = metrics.pairs_within(["a", "a", "a", "b"])
    assert found == {(0, 1), (0, 2), (1, 2)}
    agreement = metrics.pairwise(found, metrics.pairs_within(["a", "a", "b", "b"]))
    assert agreement == (1 / 3, 1 / 2)
    assert agreement.f1 == pytest.approx(0.4)
    assert metrics.pairwise(set(), set()).f1 == 1
    assert metrics.pairwise(set(), found).recall == 0


def test_bcubed_agreement_is_the_mean_over_items() -> None:
    # Found {0 1 2} {3}, expected {0 1} {2 3}: precisions 2/3, 2/3, 1/3, 1 and recalls 1, 1, 1/2, 1/2.
    agreement = metrics.bcubed([1, 1, 1, 2], ["x", "x", "y", "y"])
    assert agreement.precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert agreement.recall == pytest.approx(3 / 4)


def test_groups_hang_together_over_any_number_of_pairs() -> None:
    assert metrics.groups(6, [(4, 5), (0, 2), (2, 4)]) == [0, 1, 0, 3, 0, 0]


def test_rouge_counts_words_pairs_of_words_and_order() -> None:
    # Words: 3 of 4 shared. Pairs: "police killed" is not there, "the gunman" is. Order: "police the gunman".
    found = metrics.rouge("Police kill the gunman.", "police killed the gunman")
    assert found.rouge1 == pytest.approx(3 / 4)
    assert found.rouge2 == pytest.approx(1 / 3)
    assert found.rougeL == pytest.approx(3 / 4)
    turned = metrics.rouge("the gunman kill police", "police killed the gunman")
    assert turned.rouge1 == pytest.approx(3 / 4)
    assert turned.rougeL == pytest.approx(2 / 4)


def test_rouge_counts_a_repeated_word_as_often_as_the_reference_holds_it() -> None:
    assert metrics.rouge("the the the", "the cat").rouge1 == pytest.approx(2 / 5)
    assert metrics.rouge("", "the cat") == (0, 0, 0)


def test_the_longest_common_subsequence_agrees_with_trying_all() -> None:
    generator = random.Random(5)
    for _ in range(60):
        left, right = ([generator.choice("abc") for _ in range(generator.randint(0, 8))] for _ in range(2))
        longest = max(
            size
            for size in range(len(left) + 1)
            for chosen in itertools.combinations(left, size)
            if _is_in(chosen, right)
        )
        assert metrics.longest_common_subsequence(left, right) == longest


def _is_in(chosen: tuple[str, ...], words: list[str]) -> bool:
    rest = iter(words)
    return all(word in rest for word in chosen)


def test_lexrank_takes_the_sentence_that_others_resemble() -> None:
    sentences = ["Rain fell north.", "Rain turned into snow.", "Snow lay long.", "Cats sleep."]
    assert metrics.lexrank(sentences, 1) == sentences[1]
    assert metrics.lexrank(sentences, 4) == " ".join(sentences)


@pytest.mark.parametrize(
    ("reference", "sentences"),
    [("One is here.Three is there.", 2), ("Something else was written. By hand. Thrice.", 3), ("Three is there.", 1)],
)
def test_a_reference_counts_in_the_sentences_of_its_article(reference: str, sentences: int) -> None:
    assert measuring.budget_of(reference, ["One is here.", "Two is not.", "Three is there."]) == sentences
