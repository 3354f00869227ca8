"""The analysis engine that asks language models where that pays. What they do not answer, the local engine does."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from consumers.analysis.llm import relevance, tellings, words
from consumers.analysis.llm.depth import DEPTHS
from contracts.analysis import Analyst, Assessment, Evidence, Made, Stories, StoryTrace, Support, Telling, Told, Topic
from contracts.errors import BudgetError
from contracts.llm import Llm, LlmError, Question
from contracts.model import Model
from contracts.tiers import Quality

A = TypeVar("A", bound=Model)
R = TypeVar("R")


class LlmAnalyst:
    """The engine of one attempt, over the local engine and the models that the attempt may ask.

    Where the money is used up it raises BudgetError, and the template's ``on_budget`` decides. If that is to go on
    without paid calls, the attempt that follows is ``degraded``: it has all answers that were paid before, and does the
    rest locally.
    """

    def __init__(self, local: Analyst, llm: Llm, quality: Quality, *, degraded: bool = False) -> None:
        self.name = f"language model over {local.name}"
        self._local = local
        self._llm = llm
        self._depth = DEPTHS[quality]
        self._moneyless = degraded
        self._missed: dict[tuple[str, str], int] = {}

    def made(self) -> Made:
        """The engine, every model that was asked, and what had to be done without one."""
        local = self._local.made()
        missed = (
            f"No language model for {what} ({'once' if number == 1 else f'{number} times'}): {why}"
            for (what, why), number in self._missed.items()
        )
        return Made(engine=self.name, models=(*local.models, *self._llm.used()), degraded=(*local.degraded, *missed))

    async def words(self, phrase: str) -> tuple[str, ...]:
        """Words that belong to a topic: by one call, whose answer is kept."""
        if known := await self._local.words(phrase):
            return known
        answer = await self._asked(words.question(phrase), "the words of the topic")
        return words.chosen(phrase, answer) if answer else ()

    async def assess(self, topic: Topic, texts: Sequence[str]) -> list[Assessment]:
        """The local engine's assessments, and a model's where those are not clear."""
        found = await self._local.assess(topic, texts)
        unsure = relevance.grey(found, self._depth)
        batches = [unsure[start : start + relevance.BATCH] for start in range(0, len(unsure), relevance.BATCH)]
        answers = await _together(self._judged(topic, [texts[index] for index in batch]) for batch in batches)
        for batch, scores in zip(batches, answers, strict=True):
            for index, score in zip(batch, scores, strict=False):
                found[index] = relevance.combined(found[index], score)
        return found

    async def tell(self, topic: Topic, stories: Sequence[Sequence[Evidence]]) -> list[Telling]:
        """Each story told by a model where the quality is that deep, by the local engine where it is not or fails."""
        found: list[Telling | None] = [None] * len(stories)
        if self._depth.tells:
            found = await _together(self._told(topic, story) for story in stories)
        missing = [index for index, telling in enumerate(found) if telling is None]
        others = iter(await self._local.tell(topic, [stories[index] for index in missing]) if missing else ())
        return [next(others) if telling is None else telling for telling in found]

    async def brief(self, topic: Topic, tellings_: Sequence[Telling], sentences: int) -> tuple[Told, ...]:
        """The stories summed up by a model, or by the local engine."""
        if tellings_ and sentences:
            question, made = tellings.brief(topic, tellings_, sentences)
            if answer := await self._asked(question, "the summary"):
                return made(answer)
        return await self._local.brief(topic, tellings_, sentences)

    async def rank(self, topic: Topic, documents: Sequence[str]) -> list[float]:
        """The local engine's scores."""
        return await self._local.rank(topic, documents)

    async def categorise(self, texts: Sequence[str]) -> list[str]:
        """The local engine's categories."""
        return await self._local.categorise(texts)

    async def summarise(self, texts: Sequence[str], sentences: int) -> list[str]:
        """The local engine's summaries, made of the texts' own sentences."""
        return await self._local.summarise(texts, sentences)

    async def duplicates(self, texts: Sequence[str]) -> list[int]:
        """The local engine's groups."""
        return await self._local.duplicates(texts)

    async def stories(self, texts: Sequence[str], known: Sequence[StoryTrace] = ()) -> Stories:
        """The local engine's stories."""
        return await self._local.stories(texts, known)

    async def themes(self, texts: Sequence[str]) -> list[int]:
        """The local engine's themes."""
        return await self._local.themes(texts)

    async def support(self, claims: Sequence[str], evidence: Sequence[Sequence[str]]) -> list[Support]:
        """The local engine's verdicts: no model checks itself."""
        return await self._local.support(claims, evidence)

    async def _judged(self, topic: Topic, texts: Sequence[str]) -> list[float]:
        answer = await self._asked(relevance.question(topic, texts), "judging articles near the cut", number=len(texts))
        return relevance.scores(texts, answer) if answer else []

    async def _told(self, topic: Topic, story: Sequence[Evidence]) -> Telling | None:
        question, made = tellings.telling(topic, story)
        answer = await self._asked(question, "telling stories")
        return made(answer) if answer else None

    async def _asked(self, question: Question[A], what: str, number: int = 1) -> A | None:
        """An answer, or None where the local engine has to do, which is noted with a reason for readers."""
        try:
            return await self._llm.ask(question)
        except LlmError as error:
            why = str(error)
        except BudgetError:
            if not self._moneyless:
                raise
            why = "the budget for paid calls is used up"
        self._missed[what, why] = self._missed.get((what, why), 0) + number
        return None


async def _together(asking: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """The results of all. A fault is raised after all have ended: what is under way is paid, and its answer is kept."""
    results = await asyncio.gather(*asking, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
