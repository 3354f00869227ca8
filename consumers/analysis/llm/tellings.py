"""Stories told and summed up by a model, every sentence with evidence that it was given."""

from collections.abc import Callable, Mapping, Sequence

from consumers.analysis.llm import guard, labels, prompts
from consumers.analysis.llm.relevance import described
from contracts.analysis import Evidence, Telling, Told, Topic
from contracts.llm import Block, Question
from contracts.model import Model
from contracts.visible import visible

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
    return visible(f"{evidence.title}\n{evidence.source}, {evidence.site}, {day}\n{evidence.text[:SHOWN_CHARACTERS]}")


def telling(topic: Topic, story: Sequence[Evidence]) -> tuple[Question[Story], Callable[[Story], Telling]]:
    """Asks for the telling of one story, and makes one of the answer.

    One story in a call: what is hidden in a source of one cannot touch another, and instructions are short.
    """
    prompt = prompts.load("telling")
    shown = [_source(evidence) for evidence in story[:MOST_SOURCES]]
    given = labels.of(shown)
    texts = dict(zip(given, shown, strict=True))
    ids = {label: (evidence.id,) for label, evidence in zip(given, story, strict=False)}

    def made(answer: Story) -> Telling:
        return Telling(
            title=answer.title.strip(),
            happened=tuple(_told(sentence, ids) for sentence in answer.happened),
            matters=_told(answer.matters, ids) if answer.matters else None,
            differences=tuple(_told(sentence, ids) for sentence in answer.differences),
        )

    asked = Question(
        prompt=prompt.name,
        instructions=prompt.instructions,
        data=(Block(labels.TOPIC, described(topic)), *map(Block, given, shown)),
        answer=Story,
        most_tokens=TELLING_TOKENS,
        problems=lambda answer: _problems_of_story(answer, texts),
    )
    return asked, made


def _problems_of_story(story: Story, texts: Mapping[str, str]) -> list[str]:
    found = guard.problems(story.title, guard.LONGEST_TITLE) + guard.ungrounded(story.title, list(texts.values()))
    if not 1 <= len(story.happened) <= MOST_HAPPENED or len(story.differences) > MOST_DIFFERENCES:
        found.append(f"happened has 1 to {MOST_HAPPENED} sentences and differences at most {MOST_DIFFERENCES}.")
    for sentence in (*story.happened, *([story.matters] if story.matters else []), *story.differences):
        found += _problems(sentence, texts)
    if any(len(set(sentence.evidence)) < 2 for sentence in story.differences):
        found.append("a difference names the labels of both sources.")
    return found


def brief(
    topic: Topic, tellings: Sequence[Telling], most: int
) -> tuple[Question[Summary], Callable[[Summary], tuple[Told, ...]]]:
    """Asks for the summary of stories, and makes one of the answer."""
    prompt = prompts.load("brief")
    every = [(story.title, sentence) for story in tellings for sentence in story.happened][:MOST_SUMMED_UP]
    shown = [f"{title}\n{sentence.text}" for title, sentence in every]
    given = labels.of(shown)
    texts = dict(zip(given, shown, strict=True))
    ids = {label: sentence.evidence for label, (_, sentence) in zip(given, every, strict=True)}

    def problems(answer: Summary) -> list[str]:
        found = [] if 1 <= len(answer.sentences) <= most else [f"there must be 1 to {most} sentences."]
        for sentence in answer.sentences:
            found += _problems(sentence, texts)
        return found

    def made(answer: Summary) -> tuple[Told, ...]:
        return tuple(_told(sentence, ids) for sentence in answer.sentences)

    asked = Question(
        prompt=prompt.name,
        instructions=prompt.instructions,
        data=(Block(labels.TOPIC, f"{described(topic)}\nat most {most} sentences"), *map(Block, given, shown)),
        answer=Summary,
        most_tokens=TOKENS_A_SENTENCE * (most + 1),
        problems=problems,
    )
    return asked, made


def _told(sentence: Sentence, ids: Mapping[str, tuple[str, ...]]) -> Told:
    """The sentence with the evidence behind the labels that it names."""
    found = dict.fromkeys(id for label in sentence.evidence for id in ids[label])
    return Told(text=sentence.text.strip(), evidence=tuple(found))


def _problems(sentence: Sentence, texts: Mapping[str, str]) -> list[str]:
    """What is wrong with a sentence by itself and by the blocks that it names."""
    if strange := labels.unknown(sentence.evidence, texts):
        return strange
    if not 1 <= len(sentence.evidence) <= MOST_LABELS:
        return [f"each sentence names 1 to {MOST_LABELS} labels."]
    return guard.problems(sentence.text) or guard.ungrounded(
        sentence.text, [texts[label] for label in sentence.evidence]
    )
