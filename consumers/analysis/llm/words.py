"""Words that belong to a topic which no lexicon knows."""

import re

from consumers.analysis.llm import guard, labels, prompts
from contracts.llm import Block, Question
from contracts.model import Model

MOST = 18
TOKENS = 400
_TERM = re.compile(r"[^\W_][\w '\u2019+#./&-]{0,38}[\w+#]")


class Words(Model):
    """Terms that belong to a topic."""

    words: tuple[str, ...]


def question(phrase: str) -> Question[Words]:
    """Asks for the words of a topic."""
    prompt = prompts.load("words")
    return Question(
        prompt=prompt.name,
        instructions=prompt.instructions,
        data=(Block(labels.TOPIC, " ".join(phrase.split()).casefold()),),
        answer=Words,
        most_tokens=TOKENS,
        problems=_problems,
    )


def _problems(answer: Words) -> list[str]:
    wrong = [
        word for word in answer.words if not _TERM.fullmatch(word) or len(word.split()) > 4 or guard.problems(word)
    ]
    return ["each term has one to three words of letters and digits, at most 40 characters."] if wrong else []


def chosen(phrase: str, answer: Words) -> tuple[str, ...]:
    """The terms without repeats and without the phrase itself."""
    seen = {" ".join(phrase.split()).casefold()}
    found = []
    for word in answer.words:
        if word.casefold() not in seen:
            seen.add(word.casefold())
            found.append(word)
    return tuple(found[:MOST])
