"""Stories told and summed up by a model, every sentence with evidence that it was given."""

from collections.abc import Callable, Mapping, Sequence

from consumers.analysis.llm import guard, labels, prompts
from consumers.analysis.llm.relevance import described
from contracts.analysis import Evidence, Telling, Told, Topic
from contracts.llm import Block, Question
from contracts.model import Model

MOST_SOURCES = 6
SHOWN_CHARACTERS = 1200
MOST_HAPPENED = 3
MOST_DIFFERENCES = 3
MOST_LABELS = 4
TELLING_TOKENS = 700
TOKENS_A_SENTENCE = 120
MOST_SUMMED_UP = 40
"""Sentences of stories that a summary is made of; the weightiest stories come first."""


class Sentence(Model):
    """A sentence and the labels of the blocks that bear it."""

    text: str
    evidence: tuple[str, ...]


class Story(Model):
    """A story as a model tells it."""

    title: str
    happened: tuple[Sentence, ...]
    matters: Sentence | None
    differences: tuple[Sentence, ...]


class Summary(Model):
    """A summary as a model writes it."""

    sentences: tuple[Sentence, ...]


def _source(evidence: Evidence) -> str:
    day = evidence.published.date().isoformat() if evidence.published else "no date"
    # What is checked against is what was shown: the head of a block is evidence like its text.
    return f"{evidence.title}\n{evidence.source}, {evidence.site}, {day}\n{evidence.text[:SHOWN_CHARACTERS]}"


def telling(topic: Topic, story: Sequence[Evidence]) -> tuple[Question[Story], Callable[[Story], Telling]]:
    """Asks for the telling of one story, and makes one of the answer.

    One story in a call: what is hidden in a source of one cannot touch another, and instructions are short.
    """
    prompt = prompts.load("telling")
    shown = [_source(evidence) for evidence in story[:MOST_SOURCES]]
    known = dict(zip(labels.of(shown), zip((evidence.id for evidence in story), shown, strict=False), strict=True))

    def problems(answer: Story) -> list[str]:
        found = guard.problems(answer.title, guard.LONGEST_TITLE)
        found += guard.ungrounded(answer.title, shown)
        if not 1 <= len(answer.happened) <= MOST_HAPPENED or len(answer.differences) > MOST_DIFFERENCES:
            found.append(f"happened has 1 to {MOST_HAPPENED} sentences and differences at most {MOST_DIFFERENCES}.")
        texts = {label: body for label, (_, body) in known.items()}
        for sentence in (*answer.happened, *([answer.matters] if answer.matters else []), *answer.differences):
            found += _problems(sentence, texts)
        if any(len(set(sentence.evidence)) < 2 for sentence in answer.differences):
            found.append("a difference names the labels of both sources.")
        return found

    def told(sentence: Sentence) -> Told:
        ids = dict.fromkeys(known[label][0] for label in sentence.evidence)
        return Told(text=sentence.text.strip(), evidence=tuple(ids))

    def made(answer: Story) -> Telling:
        return Telling(
            title=answer.title.strip(),
            happened=tuple(map(told, answer.happened)),
            matters=told(answer.matters) if answer.matters else None,
            differences=tuple(map(told, answer.differences)),
        )

    asked = Question(
        prompt=prompt.name,
        instructions=prompt.instructions,
        data=(Block(labels.TOPIC, described(topic)), *map(Block, known, shown)),
        answer=Story,
        most_tokens=TELLING_TOKENS,
        problems=problems,
    )
    return asked, made


def brief(
    topic: Topic, tellings: Sequence[Telling], most: int
) -> tuple[Question[Summary], Callable[[Summary], tuple[Told, ...]]]:
    """Asks for the summary of stories, and makes one of the answer."""
    prompt = prompts.load("brief")
    every = [(story.title, sentence) for story in tellings for sentence in story.happened][:MOST_SUMMED_UP]
    shown = [f"{title}\n{sentence.text}" for title, sentence in every]
    given = labels.of(shown)
    texts = dict(zip(given, shown, strict=True))
    evidence = {label: sentence.evidence for label, (_, sentence) in zip(given, every, strict=True)}

    def problems(answer: Summary) -> list[str]:
        found = [] if 1 <= len(answer.sentences) <= most else [f"there must be 1 to {most} sentences."]
        for sentence in answer.sentences:
            found += _problems(sentence, texts)
        return found

    def made(answer: Summary) -> tuple[Told, ...]:
        return tuple(
            Told(
                text=sentence.text.strip(),
                evidence=tuple(dict.fromkeys(id for label in sentence.evidence for id in evidence[label])),
            )
            for sentence in answer.sentences
        )

    asked = Question(
        prompt=prompt.name,
        instructions=prompt.instructions,
        data=(Block(labels.TOPIC, f"{described(topic)}\nat most {most} sentences"), *map(Block, given, shown)),
        answer=Summary,
        most_tokens=TOKENS_A_SENTENCE * (most + 1),
        problems=problems,
    )
    return asked, made


def _problems(sentence: Sentence, texts: Mapping[str, str]) -> list[str]:
    """What is wrong with a sentence by itself and by the blocks that it names."""
    if strange := labels.unknown(sentence.evidence, texts):
        return strange
    if not 1 <= len(sentence.evidence) <= MOST_LABELS:
        return [f"each sentence names 1 to {MOST_LABELS} labels."]
    return guard.problems(sentence.text) or guard.ungrounded(
        sentence.text, [texts[label] for label in sentence.evidence]
    )
