"""Which articles are looked at: each once, of the age and in the languages that were asked for."""

import datetime
from collections.abc import Sequence

from consumers.stages.selection.judged import left_out
from contracts import artifacts, intelligence


def admissible(
    task: intelligence.ClassifierInput, now: datetime.datetime
) -> tuple[list[artifacts.Article], list[artifacts.LeftOut]]:
    """Each article once, by id and by address, sorted by id; those too old or in another language are left out."""
    kept: list[artifacts.Article] = []
    distinct, refused = _distinct(task.feeds.outputs)
    for article in distinct:
        if (
            task.max_age_days
            and article.published
            and now - article.published > datetime.timedelta(days=task.max_age_days)
        ):
            refused.append(left_out(article, "old", f"published {article.published.date()}"))
        elif task.languages and article.language and article.language not in task.languages:
            refused.append(left_out(article, "language", f"written in {article.language}"))
        else:
            kept.append(article)
    return kept, refused


def _distinct(
    feeds: Sequence[artifacts.ArticleSet],
) -> tuple[list[artifacts.Article], list[artifacts.LeftOut]]:
    """Each article once. Several entries of one feed may link to one page; those of another feed to it are copies."""
    found: dict[str, artifacts.Article] = {}
    every = [article for feed in feeds for article in feed.records]
    for article in sorted(every, key=lambda article: (article.id, article.source_url)):
        found.setdefault(article.id, article)
    owners: dict[str, artifacts.Article] = {}
    kept: list[artifacts.Article] = []
    copies: list[artifacts.LeftOut] = []
    for article in found.values():
        first = owners.setdefault(article.url or article.id, article)
        if first.source_url == article.source_url:
            kept.append(article)
        else:
            detail = f"links to the page of “{first.title}” ({first.source_title})"
            copies.append(left_out(article, "duplicate", detail))
    return kept, copies
