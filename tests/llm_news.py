"""Made-up news of any number, always the same: some of it on energy, some on the edge of it, most on other things."""

import datetime
import random
from typing import NamedTuple

from contracts import analysis

TOPIC = analysis.Topic(
    phrase="renewable energy",
    words=("solar", "wind farm", "grid", "battery storage", "electricity", "turbine", "photovoltaic", "hydrogen"),
)

_SUBJECTS = {
    "energy": ("solar park", "wind farm", "battery storage plant", "electricity grid", "hydrogen pipeline"),
    "edge": ("electric bus fleet", "heating law", "copper mine", "data centre", "car factory", "harbour expansion"),
    "sport": ("football final", "tennis tournament", "marathon", "cycling race", "swimming record"),
    "culture": ("museum exhibition", "film festival", "opera premiere", "novel prize", "rock concert"),
    "health": ("hospital merger", "flu vaccine", "cancer study", "nursing strike", "dental clinic"),
    "money": ("bank merger", "interest rate decision", "pension fund", "currency auction", "tax reform"),
}
_PLACES = ("Oslo", "Porto", "Lyon", "Graz", "Turku", "Leeds", "Ghent", "Malmo", "Bergen", "Sofia", "Vilnius", "Cork")
_VERBS = ("approved", "delayed", "opened", "cancelled", "expanded", "reviewed", "financed", "criticised")
_WHO = ("The city council", "The regional court", "A group of investors", "The ministry", "Local residents")
_WHY = {
    "energy": "The project is to supply renewable electricity to homes and to cut emissions of coal plants.",
    "edge": "Its operators say that they want to use more electricity from the grid and less diesel.",
    "sport": "Spectators filled the stadium and the winners were celebrated until late in the evening.",
    "culture": "Critics praised the performance and tickets were sold out within a few hours.",
    "health": "Doctors and patients had asked for the change since the beginning of last year.",
    "money": "Analysts had expected the step and markets hardly moved after the announcement.",
}


class News(NamedTuple):
    """An article of the made-up news."""

    subject: str
    evidence: analysis.Evidence

    @property
    def text(self) -> str:
        """What an engine judges."""
        return f"{self.evidence.title}\n{self.evidence.text}"


def articles(number: int) -> list[News]:
    """So many articles, each different."""
    chance = random.Random(20261122)
    return [_article(index, chance) for index in range(number)]


def _article(index: int, chance: random.Random) -> News:
    subject = chance.choice(sorted(_SUBJECTS))
    thing, place = chance.choice(_SUBJECTS[subject]), chance.choice(_PLACES)
    verb, who = chance.choice(_VERBS), chance.choice(_WHO)
    amount, count = 10 + index, chance.randint(20, 900)
    text = (
        f"{who} in {place} {verb} the {thing} on Monday, which costs {amount} million euros. {_WHY[subject]} "
        f"About {count} people took part in the hearing before."
    )
    evidence = analysis.Evidence(
        id=f"article-{index}",
        title=f"{thing.capitalize()} in {place} {verb} after hearing of {count} people",
        text=text,
        source=f"{place} Herald",
        site=f"{place.lower()}.example",
        language="en",
        published=datetime.datetime(2026, 11, 1 + index % 20, 12, tzinfo=datetime.UTC),
    )
    return News(subject, evidence)


def stories(found: list[News], size: int) -> list[list[analysis.Evidence]]:
    """The articles in groups, as if each told one story."""
    every = [news.evidence for news in found]
    return [every[start : start + size] for start in range(0, len(every), size)]
