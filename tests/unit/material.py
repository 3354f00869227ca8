"""Articles and feeds written for the tests of the intelligence stages."""

import datetime
from collections.abc import Iterable

from contracts import artifacts, intelligence, messages
from contracts.errors import ErrorClass

NOW = datetime.datetime(2026, 3, 20, 12, tzinfo=datetime.UTC)

ENERGY = """\
Desert solar farm goes online|The largest solar farm of the region went online on Monday. Its panels give \
electricity to 200,000 homes. The operator plans battery storage beside it, so that the grid has power at night.
Offshore wind turbines pass a record|Wind turbines off the coast produced a record amount of electricity in March. \
Grid operators had to switch off two coal plants for the first time. Renewable power now covers half of the demand.
Ministers agree on carbon price|Climate ministers agreed on a carbon price for heating and transport from next year. \
Emissions have to fall by half before the end of the decade. Environmental groups call the price too low.
Heat pumps outsell gas boilers|Heat pumps sold better than gas boilers for the first time, the trade association said. \
Subsidies for clean heating made the difference. Installers warn that the electricity grid is not ready for all of them.
Glaciers lose more ice than ever|Alpine glaciers lost more ice last summer than in any year since measurements began. \
Warming of the climate explains most of the loss, researchers write. Rivers will carry less water in dry years.
Battery plant to store wind power|A battery plant of 300 megawatts is to store surplus wind power near the harbour. \
The utility expects to pay less for gas in winter. Renewable energy has been wasted there for lack of lines."""

OTHER = """\
Striker scores three goals in cup final|The striker scored three goals as the home team won the cup final on Saturday. \
Her manager praised the whole team. The club plays in the league again next week.
Festival opens with a silent film|The film festival opened with a restored silent film and a live orchestra. \
The director of the museum introduced the actors. Tickets for the weekend are sold out.
Bakery wins prize for sourdough|A small bakery won the national prize for its sourdough bread. \
The baker uses a recipe of her grandmother. Customers wait in a long queue every morning.
Court sentences burglar to three years|The court sentenced a burglar to three years in prison on Thursday. \
Police had arrested the suspect in a stolen van. His lawyer said that he would appeal.
Orchestra plays in the old tram depot|The orchestra gave a concert in the old tram depot, as its hall is repaired. \
The audience sat between rails. A second concert follows in May.
Hospital tests new vaccine against flu|The hospital tests a new vaccine against flu with 400 patients. \
Doctors expect results in autumn. The trial is paid by the university."""


LATER = """\
Tidal power plant gives its first electricity|A tidal power plant in the strait gave its first electricity on Tuesday. \
Its turbines are to supply 9,000 homes with renewable energy. Fishermen fear that the currents change.
Homeowners wait months for solar panels|Whoever wants solar panels waits for months, as electricians are scarce. \
Installers train more apprentices for renewable energy. Electricity from the roof stays cheap, they say."""


def articles(lines: str, host: str = "news.example", start: int = 1) -> list[artifacts.Article]:
    """An article for each line ``title|text``, a day apart."""
    made = []
    for number, line in enumerate(lines.splitlines(), start=start):
        title, _, text = line.partition("|")
        made.append(article(f"{host}-{number:03d}", title, text, host=host, days=number))
    return made


def article(
    identifier: str,
    title: str,
    text: str,
    *,
    host: str = "news.example",
    days: float | None = 1,
    language: str = "en",
    url: str | None = None,
) -> artifacts.Article:
    """An article of a site, published so many days before NOW."""
    return artifacts.Article(
        id=identifier,
        url=f"https://{host}/{identifier}" if url is None else url,
        title=title,
        text=text,
        language=language,
        published=None if days is None else NOW - datetime.timedelta(days=days),
        published_from="none" if days is None else "published",
        source_url=f"https://{host}/feed",
        source_title=f"The {host.split('.')[0].title()}",
        site=host,
        fingerprint="1",
    )


def feed(records: Iterable[artifacts.Article]) -> artifacts.ArticleSet:
    """The feed that these articles, all of one site, came from."""
    found = tuple(records)
    return artifacts.ArticleSet(
        source_url=found[0].source_url,
        source_title=found[0].source_title,
        format="rss20",
        language="en",
        entries=len(found),
        records=found,
    )


FAILURE = messages.ShardFailure(
    shard=7,
    error_class=ErrorClass.PERMANENT,
    explanation="the server answered 404",
    details={"url": "https://gone.example/feed"},
)


def gathered(*feeds: artifacts.ArticleSet) -> intelligence.Gathered[artifacts.ArticleSet]:
    """The feeds as a joined fan-out, one further feed having failed."""
    return intelligence.Gathered[artifacts.ArticleSet](outputs=feeds, failures=(FAILURE,))


def energy_task(**changes: object) -> intelligence.ClassifierInput:
    """Two sites that report on energy and on other things."""
    values: dict[str, object] = {
        "topic": "renewable energy",
        "feeds": gathered(
            feed(articles(ENERGY)),
            feed(articles(OTHER, host="daily.example")),
        ),
    }
    return intelligence.ClassifierInput.model_validate(values | changes)
