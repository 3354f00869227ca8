"""The questions that a reader has about a topic, by its kind."""

from collections.abc import Sequence

from contracts import artifacts

Pattern = tuple[str, str, tuple[str, ...]]
"""Title, question and queries, in which ``{topic}`` stands for the topic."""

_ALWAYS: tuple[Pattern, ...] = (
    ("What is new", "What has happened in {topic} lately?", ("{topic} news", "{topic} latest", "{topic} announced")),
    (
        "Who matters",
        "Which people and organisations shape {topic}?",
        ("{topic} leader", "{topic} company", "{topic} group"),
    ),
)
_RISKS: Pattern = (
    "Risks and criticism",
    "What can go wrong, and who warns of it?",
    ("{topic} risk", "{topic} criticism"),
)
_MONEY: Pattern = (
    "Money",
    "Who pays, who earns, and how much?",
    ("{topic} investment", "{topic} market", "{topic} cost"),
)
_RULES: Pattern = (
    "Rules",
    "What do law and regulators demand?",
    ("{topic} regulation", "{topic} law", "{topic} policy"),
)
_NEXT: Pattern = (
    "What comes next",
    "What is planned or expected?",
    ("{topic} outlook", "{topic} forecast", "{topic} plan"),
)

_BY_KIND: dict[str, tuple[Pattern, ...]] = {
    "technology": (
        ("Releases", "Which products and versions came out?", ("{topic} release", "{topic} launch", "{topic} update")),
        ("In practice", "How is it used, and with what result?", ("{topic} case study", "{topic} tutorial")),
        ("Research", "What do new studies and papers show?", ("{topic} paper", "{topic} benchmark")),
        (
            "Security and privacy",
            "What is exposed, and how is it protected?",
            ("{topic} vulnerability", "{topic} privacy"),
        ),
        _MONEY,
        _RULES,
    ),
    "science": (
        ("Findings", "What was found, and how sure is it?", ("{topic} study", "{topic} discovery", "{topic} evidence")),
        ("Methods and instruments", "What made it possible?", ("{topic} experiment", "{topic} instrument")),
        ("Use", "What could come of it outside the laboratory?", ("{topic} application", "{topic} industry")),
        ("Open questions", "What is disputed or unknown?", ("{topic} debate", "{topic} theory")),
        _MONEY,
    ),
    "environment": (
        ("State of things", "What do measurements show?", ("{topic} report", "{topic} data", "{topic} record")),
        ("Remedies", "What is being done, and does it work?", ("{topic} solution", "{topic} technology")),
        ("People affected", "Who gains and who loses?", ("{topic} impact", "{topic} communities")),
        _MONEY,
        _RULES,
        _RISKS,
    ),
    "business": (
        ("Results", "How are the companies doing?", ("{topic} earnings", "{topic} revenue", "{topic} profit")),
        ("Deals", "Who buys, merges or raises money?", ("{topic} acquisition", "{topic} funding")),
        ("Customers and workers", "What changes for them?", ("{topic} jobs", "{topic} prices", "{topic} consumers")),
        _RULES,
        _RISKS,
        _NEXT,
    ),
    "world": (
        ("Events", "What happened, where and when?", ("{topic} today", "{topic} attack", "{topic} talks")),
        ("Power", "Who decides, and who opposes?", ("{topic} government", "{topic} opposition", "{topic} election")),
        ("People", "What does it mean for those who live there?", ("{topic} civilians", "{topic} protest")),
        ("Abroad", "How do other countries act on it?", ("{topic} sanctions", "{topic} summit", "{topic} diplomacy")),
        _MONEY,
        _NEXT,
    ),
    "health": (
        ("Evidence", "What do trials and studies show?", ("{topic} trial", "{topic} study")),
        ("Treatment", "What helps, and for whom?", ("{topic} treatment", "{topic} drug", "{topic} therapy")),
        ("Prevention", "How can it be avoided?", ("{topic} prevention", "{topic} screening")),
        ("Care", "What changes for patients and staff?", ("{topic} patients", "{topic} hospital")),
        _MONEY,
        _RULES,
    ),
    "sport": (
        ("Results", "Who won?", ("{topic} result", "{topic} final", "{topic} match report")),
        (
            "Players and teams",
            "Who is in form, injured or moving?",
            ("{topic} injury", "{topic} transfer", "{topic} squad"),
        ),
        ("Coming up", "What is played next?", ("{topic} fixture", "{topic} preview")),
        ("Behind the game", "What happens in boards and federations?", ("{topic} federation", "{topic} doping")),
        _MONEY,
    ),
    "culture": (
        ("New works", "What came out?", ("{topic} release", "{topic} premiere", "{topic} new")),
        ("Reviews", "What do critics and audiences say?", ("{topic} review", "{topic} best")),
        ("People", "Who is talked about?", ("{topic} interview", "{topic} award")),
        ("Background", "Where does it come from?", ("{topic} history", "{topic} guide")),
        _MONEY,
    ),
    "society": (
        ("Cases", "Which cases stand for it?", ("{topic} case", "{topic} trial", "{topic} incident")),
        ("People affected", "Who gains and who loses?", ("{topic} families", "{topic} impact")),
        ("Reform", "What should change?", ("{topic} reform", "{topic} campaign")),
        ("Figures", "What do statistics show?", ("{topic} statistics", "{topic} report")),
        _RULES,
        _MONEY,
    ),
    "general": (
        _RISKS,
        _MONEY,
        _RULES,
        _NEXT,
        ("Background", "How did it come to this?", ("{topic} history", "{topic} guide")),
    ),
}


def plan(topic: str, kind: str, words: Sequence[str]) -> tuple[artifacts.Angle, ...]:
    """The angles for a topic of that kind; the first takes the topic's own words as further queries."""
    angles: list[artifacts.Angle] = []
    for title, question, queries in (*_ALWAYS, *_BY_KIND.get(kind, _BY_KIND["general"])):
        asked = tuple(query.format(topic=topic) for query in queries)
        further = tuple(words[:6]) if not angles else ()
        angles.append(artifacts.Angle(title=title, question=question.format(topic=topic), queries=asked + further))
    return tuple(angles)
