"""A stage from another package: counts the words of a text."""

import collections
import re

from contracts import model, stages


class Text(model.Model):
    text: str
    top: int = 10


class Word(model.Model):
    word: str
    times: int


class WordCounts(model.Artifact):
    words: int
    records: tuple[Word, ...]


SPEC = stages.StageSpec(name="word_count", input=Text, output=WordCounts, timeout=10)


async def run(ctx: stages.StageContext, task: Text) -> WordCounts:
    words = re.findall(r"\w+", task.text.lower())
    counted = collections.Counter(words).most_common(task.top)
    return WordCounts(words=len(words), records=tuple(Word(word=word, times=times) for word, times in counted))
