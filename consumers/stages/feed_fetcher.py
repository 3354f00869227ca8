"""Fetches one feed and turns its entries into clean articles."""

from consumers.stages.feeds import reader
from contracts import artifacts, errors, intelligence, stages

SPEC = intelligence.FEED_FETCHER

ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml;q=0.9, "
    "application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.7, */*;q=0.1"
)


async def run(ctx: stages.StageContext, task: intelligence.FetcherInput) -> artifacts.ArticleSet:
    """The articles of one feed; every failure tells what was wrong with it and carries its URL."""
    page = await ctx.fetch(task.source.url, {"Accept": ACCEPT})
    request = reader.Request(
        source=task.source,
        url=page.url,
        body=page.body,
        charset=_charset(page.headers.get("content-type", "")),
        max_articles=task.max_articles,
        now=ctx.now(),
    )
    try:
        articles = await ctx.isolated(reader.read, request)
    except errors.StageError as error:
        error.details.setdefault("url", task.source.url[: reader.URL_LENGTH])
        raise
    if articles.problems:
        ctx.log.info("feed has problems", problems=len(articles.problems))
    return articles


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'")[:40]
    return ""
