"""Composes the report: themes of stories, an executive summary of quoted sentences, and the evidence behind both."""

import collections
import datetime
import re
from collections.abc import Mapping, Sequence

from consumers.stages.report import naming
from contracts import artifacts

FEWEST_ARTICLES = 4
FEWEST_CONVINCING = 3
CONVINCING = 0.6
"""A report needs so many articles, and so many of at least this relevance; with less there is nothing to report."""

SMALLEST_THEME = 3
"""Fewer stories make no theme of their own: the words that they share are chance."""

STATEMENTS = 6
CITED_AT_ONCE = 4
_BOILERPLATE = re.compile(
    r"\b(subscribe|sign up|newsletter|click here|read more|continue reading|cookies?|all rights reserved|vol\.|doi|"
    r"podcast|this episode|my talk|webinar)\b|https?:|[<>]|^(by|from|photo|image|source|author)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+")
_CAPITALS = 0.6
"""A sentence with a larger share of capitalised words is a byline, a list of names or a heading."""

_PERSONAL = re.compile(r"\b(i|i'm|i've|i'll|my|me|we|our|us|you|your)\b", re.IGNORECASE)
_LEANING = re.compile(
    r"(none of|however|but|and|so|also|this|these|that|those|it|its|it's|they|them|their|he|she|his|her|here|there|"
    r"then|still|yet|instead|moreover|meanwhile|doch|aber|und|dies\w*|das ist|es|er|sie|mais|cela|il|elle|pero|esto)\b",
    re.IGNORECASE,
)
"""Openings that lean on a sentence before, which a quotation leaves behind."""

_SHORTEST_STATEMENT = 40
_LONGEST_STATEMENT = 320
_FEWEST_WORDS = 5

Numbers = Mapping[str, int]
Sentences = Mapping[str, Sequence[str]]
"""The sentences of each article's summary, by the article's id."""

Story = list[artifacts.AnalysedArticle]


def report(
    analysed: artifacts.AnalysedArticles, sentences: Sentences, topic: str, title: str, created: datetime.datetime
) -> artifacts.Report:
    """The report on these articles; every citation number resolves to an article among them."""
    enough = is_enough(analysed.records)
    groups = _groups(analysed.records)
    ordered = [record for group in groups for story in group for record in story]
    numbers = {record.article.id: number for number, record in enumerate(ordered, start=1)}
    themes = _themes(groups, numbers, topic)
    return artifacts.Report(
        title=title or _headline(topic) + ("" if enough else ": not enough material"),
        topic=topic,
        created=created,
        engine=analysed.engine,
        executive_summary=_executive_summary(groups, numbers, sentences) if enough else (),
        themes=themes,
        evidence=tuple(_citation(record, numbers[record.article.id]) for record in ordered),
        sources=analysed.sources,
        left_out=analysed.left_out,
        failures=analysed.failures,
        method=_method(analysed),
        enough=enough,
    )


def is_enough(records: Sequence[artifacts.AnalysedArticle]) -> bool:
    """Whether there is material for a report, and not only for the statement that there is none."""
    convincing = sum(record.relevance >= CONVINCING for record in records)
    return len(records) >= FEWEST_ARTICLES and convincing >= FEWEST_CONVINCING


def _headline(topic: str) -> str:
    return topic[:1].upper() + topic[1:]


def _groups(records: Sequence[artifacts.AnalysedArticle]) -> list[list[Story]]:
    """Stories by theme, the best first; those of small themes are joined by category at the end."""
    themes: dict[int, dict[int, Story]] = {}
    for record in records:
        themes.setdefault(record.theme, {}).setdefault(record.story, []).append(record)
    whole = [list(stories.values()) for stories in themes.values() if len(stories) >= SMALLEST_THEME]
    single: dict[str, list[Story]] = collections.defaultdict(list)
    for stories in themes.values():
        if len(stories) < SMALLEST_THEME:
            for story in stories.values():
                single[story[0].category].append(story)
    rank = {record.article.id: index for index, record in enumerate(records)}
    whole = [sorted(group, key=lambda story: (-len(story), rank[story[0].article.id])) for group in whole]
    whole.sort(key=lambda group: (-max(len(story) for story in group), rank[group[0][0].article.id]))
    categories = sorted(single.values(), key=lambda group: (-len(group), rank[group[0][0].article.id]))
    lone = [group[0] for group in categories if len(group) == 1]
    rest = [group for group in categories if len(group) > 1]
    return whole + rest + ([lone] if lone else [])


def _themes(groups: list[list[Story]], numbers: Numbers, topic: str) -> tuple[artifacts.Theme, ...]:
    texts = [[_lead_text(story[0]) for story in group] for group in groups]
    themes = []
    for index, group in enumerate(groups):
        others = [text for position, found in enumerate(texts) if position != index for text in found]
        words = naming.words(texts[index], others, topic) if len(group) > 1 else ()
        themes.append(
            artifacts.Theme(
                title=_theme_title(words, group),
                words=words,
                stories=tuple(_story(story, numbers) for story in group),
            )
        )
    return tuple(themes)


def _lead_text(record: artifacts.AnalysedArticle) -> str:
    return f"{record.article.title} {record.summary}"


def _theme_title(words: tuple[str, ...], group: list[Story]) -> str:
    category = group[0][0].category
    if len({story[0].category for story in group}) > 1 and len({story[0].theme for story in group}) > 1:
        return "Also in the news"
    if len({story[0].theme for story in group}) > 1 or len(group) < SMALLEST_THEME or not words:
        return category
    first = words[0][:1].upper() + words[0][1:]
    return ", ".join((first, *words[1:3])) if len(words) > 1 else f"{category}: {words[0]}"


def _story(story: Story, numbers: Numbers) -> artifacts.Story:
    lead = story[0]
    return artifacts.Story(
        title=lead.article.title or lead.article.url,
        summary=_summary(lead),
        key_points=lead.key_points,
        category=lead.category,
        relevance=lead.relevance,
        citation=numbers[lead.article.id],
        further=tuple(numbers[record.article.id] for record in story[1:]),
        also=tuple(sorted({other for record in story for other in record.also})),
    )


def _summary(record: artifacts.AnalysedArticle) -> str:
    """The summary, unless it only repeats the title."""
    same = record.summary.strip(" .").casefold() == record.article.title.strip(" .").casefold()
    return "" if same else record.summary


def _executive_summary(
    groups: list[list[Story]], numbers: Numbers, sentences: Sentences
) -> tuple[artifacts.Statement, ...]:
    """One quoted sentence for each of the weightiest themes, then second ones, each with its citations."""
    rounds = [group[position] for position in range(2) for group in groups if len(group) > position]
    found: list[artifacts.Statement] = []
    seen: set[str] = set()
    for story in rounds:
        text = _sentence(story, sentences)
        if text and text not in seen and len(found) < STATEMENTS:
            seen.add(text)
            cited = tuple(numbers[record.article.id] for record in story[:CITED_AT_ONCE])
            found.append(artifacts.Statement(text=text, citations=cited))
    return tuple(found)


def _sentence(story: Story, sentences: Sentences) -> str | None:
    """The first sentence of the story that stands alone: of its articles' summaries, else a title that does."""
    for record in story:
        for sentence in sentences.get(record.article.id, ()):
            if _stands_alone(sentence):
                return sentence
    titles = (record.article.title.strip() for record in story)
    return next(
        (title for title in titles if len(_WORD.findall(title)) >= _FEWEST_WORDS and title[-1] not in "?…:"), None
    )


def _stands_alone(sentence: str) -> bool:
    if not _SHORTEST_STATEMENT <= len(sentence) <= _LONGEST_STATEMENT or sentence.endswith(("?", "…", "...", ":")):
        return False
    plain = sentence.replace("\u2019", "'")
    if sentence[:1].islower() or _BOILERPLATE.search(plain) or _PERSONAL.search(plain) or _LEANING.match(plain):
        return False
    words = _WORD.findall(sentence)
    capitals = [word for word in words if word[0].isupper()]
    return len(capitals) <= _CAPITALS * len(words)


def _citation(record: artifacts.AnalysedArticle, number: int) -> artifacts.Citation:
    article = record.article
    return artifacts.Citation(
        number=number,
        article_id=article.id,
        title=article.title or article.url,
        url=article.url,
        source_title=article.source_title.strip(" -|"),
        published=article.published,
        language=article.language,
    )


def _method(analysed: artifacts.AnalysedArticles) -> str:
    total = len(analysed.records) + len(analysed.left_out)
    return (
        f"{len(analysed.sources)} feeds were read and {len(analysed.failures)} could not be; they gave {total} "
        f"articles, each counted once. Engine: {analysed.engine}. Relevance is judged from the words and the meaning "
        "of an article against the topic and against other subjects. Near-duplicates are articles that share most of "
        "their three-word runs; the earliest is kept. Every sentence of the summary is quoted from the article that "
        "it cites; nothing is written freely. Themes group articles that are alike and are named by the words that "
        "set them apart."
    )
