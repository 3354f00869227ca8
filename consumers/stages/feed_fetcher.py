"""Fetches one feed and turns its entries into clean articles."""

from consumers.stages.feeds import fulltext, reader
from contracts import artifacts, errors, intelligence, stages

SPEC = intelligence.FEED_FETCHER

ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml;q=0.9, "
    "application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.7, */*;q=0.1"
)


async def run(ctx: stages.StageContext, task: intelligence.FetcherInput) -> artifacts.ArticleSet:
    """The articles of one feed; every failure tells what was wrong with it and carries its URL.

    A feed that cannot be had now gives what it held when it was seen last, and says so among its problems.
    """

    async def read(page: stages.Page) -> stages.Reading[artifacts.ArticleSet]:
        request = reader.Request(
            source=task.source,
            url=page.url,
            body=page.body,
            charset=_charset(page.headers.get("content-type", "")),
            max_articles=task.max_articles,
            now=ctx.now(),
        )
        found = await ctx.isolated(reader.read, request)
        dates = [article.published for article in found.records if article.published is not None]
        return stages.Reading(found, tuple(article.id for article in found.records), max(dates, default=None))

    try:
        followed = await ctx.follow(task.source.url, {"Accept": ACCEPT}, read)
    except errors.StageError as error:
        error.details.setdefault("url", task.source.url[: reader.URL_LENGTH])
        raise
    found = _whereabouts(followed)
    if task.full_text == "teasers":
        found = await fulltext.complete(ctx, found)
    if found.problems:
        ctx.log.info("feed has problems", problems=len(found.problems))
    return found


def _whereabouts(followed: stages.Followed[artifacts.ArticleSet]) -> artifacts.ArticleSet:
    """The articles with where they were read, and when that was not now."""
    found, page = followed.result, followed.page
    told = (f"as it was seen last, because: {page.because}",) if page.origin == "stale" else ()
    return found.model_copy(update={"address": followed.address, "problems": (*told, *found.problems)})


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'")[:40]
    return ""
