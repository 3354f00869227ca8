"""How much an article is worth reading: by its form (length, title, signs of advertising), and how fresh it is."""

import datetime
import math
import re
from collections.abc import Sequence

from contracts import artifacts

LEAST = 0.25
"""Below this an article is left out: next to no text, or nothing but an offer."""

FULL_LENGTH = 120
"""Words from which an article counts as a text of its own and not as a teaser."""

_HALF_LIFE_DAYS = 60.0
_OFFER = re.compile(
    r"\b(coupon|promo code|discount code|\d+% off|buy now|sponsored|advertorial|giveaway|casino|betting odds|"
    r"free trial|limited time offer|rabattcode|gutschein|werbung|anzeige)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


def quality(article: artifacts.Article) -> float:
    """Between 0 and 1, by the form of the article alone."""
    words = len(_WORD.findall(article.text))
    length = min(1.0, math.log1p(words) / math.log1p(FULL_LENGTH))
    offers = len(_OFFER.findall(f"{article.title} {article.text[:2000]}"))
    honest = 1.0 if offers == 0 else 0.4 if offers == 1 else 0.0
    score = 0.55 * length * _prose(article.text) + 0.2 * _title(article.title) + 0.25 * honest
    return round(score if honest or words > FULL_LENGTH else score / 2, 4)


def _prose(text: str) -> float:
    """1 for sentences, less where most words are capitalised: bylines, lists of names, headings."""
    cased = [word for word in _WORD.findall(text[:2000]) if word[0].isupper() or word[0].islower()]
    capitals = sum(word[0].isupper() for word in cased)
    return 1.0 if capitals <= 0.5 * len(cased) else 0.3


def _title(title: str) -> float:
    words = _WORD.findall(title)
    if len(words) < 2:
        return 0.2 if words else 0.0
    return 0.5 if title.isupper() or len(title) > 250 else 1.0


def freshness(article: artifacts.Article, newest: datetime.datetime | None) -> float:
    """1 for the newest of the collection, halved every two months; 0.3 where no date is known. A rerun agrees."""
    if article.published is None or newest is None:
        return 0.3
    days = max(0.0, (newest - article.published).total_seconds() / 86400)
    return float(0.5 ** (days / _HALF_LIFE_DAYS))


def newest(articles: Sequence[artifacts.Article], now: datetime.datetime) -> datetime.datetime | None:
    """The latest date that is not in the future: feeds announce and mistype."""
    dates = [article.published for article in articles if article.published and article.published <= now]
    return max(dates, default=None)
