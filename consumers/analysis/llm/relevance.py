"""Relevance: the local engine decides what is clear, a model the rest, in batches."""

from collections.abc import Sequence

from consumers.analysis.llm import labels, prompts
from consumers.analysis.llm.depth import CUT, Depth
from contracts.analysis import Assessment, Topic
from contracts.llm import Block, Question
from contracts.model import Model

BATCH = 20
SHOWN_CHARACTERS = 600
HIGHEST = 10
TOKENS, TOKENS_A_TEXT = 100, 40


class Verdict(Model):
    """How far one article is about the topic, from 0 to 10."""

    label: str
    relevance: int


class Verdicts(Model):
    """One verdict for each article."""

    verdicts: tuple[Verdict, ...]


def grey(assessments: Sequence[Assessment], depth: Depth) -> list[int]:
    """The texts of which the local engine cannot be sure: near the cut, or beyond it and yet refused by a rule."""
    unsure = [
        index
        for index, found in enumerate(assessments)
        if depth.low <= found.relevance <= depth.high or (found.relevance > depth.high and not found.relevant)
    ]
    nearest = sorted(unsure, key=lambda index: (abs(assessments[index].relevance - CUT), index))
    return sorted(nearest[: depth.judged])


def question(topic: Topic, texts: Sequence[str]) -> Question[Verdicts]:
    """Asks for a verdict on each of these texts."""
    prompt = prompts.load("relevance")
    shown = [body[:SHOWN_CHARACTERS] for body in texts]
    given = labels.of(shown)

    def problems(answer: Verdicts) -> list[str]:
        told = [verdict.label for verdict in answer.verdicts]
        found = labels.unknown(told, given)
        if len(told) != len(set(told)) or set(given).difference(told):
            found.append(f"there must be exactly one verdict for each of the {len(given)} articles.")
        if any(not 0 <= verdict.relevance <= HIGHEST for verdict in answer.verdicts):
            found.append(f"a relevance is a whole number from 0 to {HIGHEST}.")
        return found

    return Question(
        prompt=prompt.name,
        instructions=prompt.instructions,
        data=(Block(labels.TOPIC, described(topic)), *map(Block, given, shown)),
        answer=Verdicts,
        most_tokens=TOKENS + TOKENS_A_TEXT * len(given),
        problems=problems,
    )


def scores(texts: Sequence[str], answer: Verdicts) -> list[float]:
    """The verdicts between 0 and 1 in the order of the texts."""
    told = {verdict.label: verdict.relevance / HIGHEST for verdict in answer.verdicts}
    return [told[label] for label in labels.of([body[:SHOWN_CHARACTERS] for body in texts])]


def combined(local: Assessment, score: float) -> Assessment:
    """The model says yes or no; how much is the mean of both, so that no article talks itself to the top."""
    return Assessment(relevance=round((local.relevance + score) / 2, 4), relevant=score >= CUT)


def described(topic: Topic) -> str:
    """The topic as a model sees it."""
    return "\n".join(filter(None, (topic.phrase, ", ".join(topic.names), ", ".join(topic.words))))
