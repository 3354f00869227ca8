"""A stage for tests that has made-up news told by the analysis engine, with language models where it may ask some."""

from contracts import analysis, stages
from contracts.model import Artifact, Model, Summary
from tests import llm_news


class Wanted(Model):
    """How many stories; ``log`` is not used, and given by every template of the tests."""

    log: str = ""
    stories: int = 10


class Told(Artifact):
    """The stories, and how they were made."""

    closed: str
    made: analysis.Made
    tellings: tuple[analysis.Telling, ...]

    def summary(self) -> Summary:
        return {
            "engine": self.made.engine,
            "cost": sum(use.cost for use in self.made.models),
            "cached": sum(use.cached for use in self.made.models),
            "degraded": "; ".join(self.made.degraded)[:500],
            "closed": self.closed,
        }


SPEC = stages.StageSpec(name="asking", input=Wanted, output=Told, timeout=120)


async def run(ctx: stages.StageContext, task: Wanted) -> Told:
    stories = llm_news.stories(llm_news.articles(3 * task.stories), 3)
    tellings = await ctx.analyst.tell(llm_news.TOPIC, stories)
    return Told(closed=ctx.llm.closed, made=ctx.analyst.made(), tellings=tuple(tellings))
