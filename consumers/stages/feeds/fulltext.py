"""Full texts of articles of which a feed gives no more than teasers, from their pages, where the sites allow it."""

import re
import urllib.parse
from collections.abc import Iterable, Sequence

from consumers.stages.feeds import articles, robots, urls, webpage
from contracts import artifacts, errors, stages

PAGES = 10
"""Pages of articles that are fetched for one feed at most."""

TEASER_LENGTH = 600
"""A text of at most so many characters is a teaser, and so is a longer one that breaks off."""

BROKEN_OFF_LENGTH = 2500
FAILURES = 2
"""Pages in a row that cannot be had: after them no more are asked for."""

RESERVE_SECONDS = 20.0
"""Left of the attempt's time when the last page is asked for."""

ACCEPT = {"Accept": "text/html, application/xhtml+xml;q=0.9"}

_BROKEN_OFF = re.compile(
    r"(?:…|\.\.\.|\[(?:…|\.{3})\]|read more|continue reading|weiterlesen|lire la suite|leer más|leggi tutto)\W*$",
    re.IGNORECASE,
)


def is_teaser(text: str) -> bool:
    """Whether a text looks like the beginning of an article and not like all of it."""
    return len(text) <= TEASER_LENGTH or (len(text) <= BROKEN_OFF_LENGTH and bool(_BROKEN_OFF.search(text[-60:])))


async def complete(ctx: stages.StageContext, found: artifacts.ArticleSet) -> artifacts.ArticleSet:
    """The set with the texts of its teasers' pages, the first ten; what cannot be had keeps its teaser, with a note."""
    wanted = [article for article in found.records if article.url and is_teaser(article.text)][:PAGES]
    welcome = await _welcome(ctx, {article.url for article in wanted})
    told: dict[str, artifacts.Article] = {}
    reasons: list[str] = []
    failures = 0
    for article in wanted:
        if failures == FAILURES or ctx.remaining() < RESERVE_SECONDS:
            break
        if article.url not in welcome:
            reasons.append("robots.txt does not allow it")
            continue
        try:
            told[article.id] = await _told(ctx, article)
            failures = 0
        except errors.OutageError:
            raise
        except errors.StageError as error:
            failures += 1
            reasons.append(str(error))
    return _completed(found, wanted, told, reasons)


def _completed(
    found: artifacts.ArticleSet,
    wanted: Sequence[artifacts.Article],
    told: dict[str, artifacts.Article],
    reasons: Sequence[str],
) -> artifacts.ArticleSet:
    missing = len(wanted) - len(told)
    problems = found.problems
    if missing:
        why = f": {reasons[0][:200]}" if reasons else ", for want of time"
        problems = (*problems, f"teasers whose page could not be read: {missing} of {len(wanted)}{why}")
    records = tuple(told.get(article.id, article) for article in found.records)
    return found.model_copy(update={"records": records, "problems": problems})


async def _told(ctx: stages.StageContext, article: artifacts.Article) -> artifacts.Article:
    page = await ctx.fetch(article.url, ACCEPT, remember=True)
    if "html" not in page.headers.get("content-type", "").lower():
        raise errors.PermanentError("the page of an article is no web page")
    # A redirect may have led to another site.
    if urls.site(page.url) != urls.site(article.url) and not await _welcome(ctx, {page.url}):
        raise errors.PermanentError("robots.txt does not allow it")
    request = webpage.Request(
        body=page.body[: webpage.PAGE_LENGTH],
        url=page.url,
        title=article.title,
        teaser=article.text,
        length=articles.TEXT_LENGTH,
    )
    read = await ctx.isolated(webpage.extract, request)
    more = {"text": read.text, "text_from": "page", "text_method": read.method, "text_confidence": read.confidence}
    return article.model_copy(update=more)


async def _welcome(ctx: stages.StageContext, wanted: Iterable[str]) -> frozenset[str]:
    """Those addresses that the robots.txt of their sites allow."""
    sites: dict[str, list[str]] = {}
    for url in wanted:
        sites.setdefault(urls.site(url), []).append(url)
    welcome: set[str] = set()
    for site, of_site in sites.items():
        rules = await _rules(ctx, site)
        if rules is None:
            continue
        welcome.update(await ctx.isolated(robots.allowed, robots.Request(body=rules, urls=tuple(of_site))))
    return frozenset(welcome)


async def _rules(ctx: stages.StageContext, site: str) -> bytes | None:
    """The site's robots.txt, empty if it has none, None if nobody may be asked for anything there.

    Without a file all is allowed, and without an answer nothing is (RFC 9309, sections 2.3.1.3 and 2.3.1.4). A site
    that refuses even this file is not one that wants robots.
    """
    try:
        page = await ctx.fetch(urllib.parse.urljoin(site, "/robots.txt"), remember=True)
    except errors.OutageError:
        raise
    except errors.StageError as error:
        status = error.details.get("status", "")
        return b"" if status.startswith("4") and status not in ("401", "403", "429") else None
    return page.body[: robots.LENGTH]
