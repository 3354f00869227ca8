"""Reports made for tests: the stages after the fetching, one after the other, without any server."""


import datetime

from consumers import harness
from consumers.analysis import local
from consumers.stages import citation_checker, content_classifier, report_builder, report_writer
from contracts import analysis, artifacts, intelligence, reports
from contracts.memory import Recollection
from tests.unit import material

HOSTILE = [
    "<script>alert(1)</script> wind power",
    "<img src=x onerror=alert(1)> solar farm",
    '"><a href="javascript:alert(1)">wind turbine</a>',
    "[click](https://evil.example) renewable ![x](https://evil.example/x.png)",
    "# Heading\n\n- item `code` <b>bold</b> https://evil.example wind@evil.example",
    "</style><style>body{display:none}</style>",
    "{{ 7 * 7 }} {% include 'x' %}",
    "\u202etxet lortnoc\u202c & &lt;b&gt;",
]


async def build(
    analyst: local.LocalAnalyst,
    task: intelligence.ClassifierInput,
    title: str = "",
    memory: harness.Memory | None = None,
    now: datetime.datetime = material.NOW,
) -> harness.Result[reports.Report]:
    """The report on the articles of these feeds."""
    found = (await harness.run(content_classifier, task, analyst=analyst, now=now, memory=memory)).output
    return await publish(analyst, task.topic, found, title, memory, now)


async def publish(
    analyst: local.LocalAnalyst,
    topic: str,
    found: artifacts.AnalysedArticles,
    title: str = "",
    memory: harness.Memory | None = None,
    now: datetime.datetime = material.NOW,
) -> harness.Result[reports.Report]:
    """The report on these articles: written, checked and rendered."""
    given = intelligence.WriterInput(topic=topic, articles=found, title=title)
    written = (await harness.run(report_writer, given, analyst=analyst, now=now)).output
    check = intelligence.CheckerInput(report=written, articles=found)
    checked = (await harness.run(citation_checker, check, analyst=analyst, now=now)).output
    last = intelligence.BuilderInput(report=checked, articles=found)
    return await harness.run(report_builder, last, analyst=analyst, now=now, memory=memory)


def hostile_analysis() -> artifacts.AnalysedArticles:
    """Articles whose every text is an attempt."""
    records = []
    for number, attempt in enumerate(HOSTILE):
        url = "javascript:alert(1)" if number % 2 else f"https://news.example/{number}?a=(b)&c='><d"
        article = material.article(f"h{number}", attempt, attempt, url=url)
        article = article.model_copy(update={"source_title": attempt, "language": "en"})
        records.append(
            artifacts.AnalysedArticle(
                article=article,
                scores=artifacts.Scores(relevance=0.9, quality=0.5, freshness=0.5, independence=0, total=0.65),
                category=attempt,
                theme=number // 4,
                story=number,
            )
        )
    left_out = artifacts.LeftOut(
        id="l", title=HOSTILE[0], url="", source_title=HOSTILE[1], reason="duplicate", detail=HOSTILE[3]
    )
    source = artifacts.ArticleSource(
        url="https://news.example/feed",
        title=HOSTILE[2],
        language="en",
        format=HOSTILE[3],
        entries=8,
        articles=8,
        relevant=8,
        duplicates=0,
        used=8,
    )
    trace = analysis.StoryTrace(engine="test", texts=1, vector="", words={})
    return artifacts.AnalysedArticles(
        topic=HOSTILE[0],
        subject="wind power",
        made=(analysis.Made(engine=HOSTILE[1], degraded=(HOSTILE[2],)),),
        records=tuple(records),
        stories=tuple(
            artifacts.ToldStory(id=f"s{number}", trace=trace, began=material.NOW, known=False, sites=1)
            for number in range(len(HOSTILE))
        ),
        past=(),
        limits={"site": 8},
        left_out=(left_out,),
        sources=(source,),
        failures=(material.FAILURE.model_copy(update={"explanation": HOSTILE[1]}),),
    )


async def hostile(analyst: local.LocalAnalyst) -> harness.Result[reports.Report]:
    """A report on articles whose every text is an attempt."""
    return await publish(analyst, "wind power", hostile_analysis(), HOSTILE[0])


def recollected(memory: harness.Memory) -> harness.Memory:
    """The memory of the next execution after one that kept something."""
    kept = memory.kept
    assert kept is not None
    return harness.Memory(Recollection(stories=kept.stories, reports=(kept.report,)))


async def second(analyst: local.LocalAnalyst) -> harness.Result[reports.Report]:
    """A report a week after another: two articles are new, one was rewritten, one story is not found any more."""
    first = harness.Memory()
    await build(analyst, material.energy_task(), memory=first)
    articles = material.articles(material.ENERGY)
    text = f"{articles[1].text} A third plant follows."
    rewritten = articles[1].model_copy(update={"text": text, "fingerprint": "2"})
    new = material.articles(material.LATER, host="later.example", start=-5)
    feeds = material.gathered(
        material.feed([articles[0], rewritten, *articles[2:5]]),
        material.feed(new),
        material.feed(material.articles(material.OTHER, host="daily.example")),
    )
    return await build(analyst, material.energy_task(feeds=feeds), memory=recollected(first))
