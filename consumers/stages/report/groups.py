"""How a report is divided: stories of articles, and themes of stories, with names for them."""

import collections
from collections.abc import Sequence

from consumers.stages.report import naming
from contracts import artifacts

SMALLEST_THEME = 3
"""Fewer stories make no theme of their own: the words that they share are chance."""

MIXED = "Also in the news"

Story = list[artifacts.AnalysedArticle]
"""The articles that tell one story, the best first."""

Group = list[Story]
"""The stories of one theme, the weightiest first."""


def groups(records: Sequence[artifacts.AnalysedArticle]) -> list[Group]:
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


def weightiest(divided: Sequence[Group]) -> list[Story]:
    """The stories in the order in which a summary mentions them: the first of each theme, then the second ones."""
    longest = max((len(group) for group in divided), default=0)
    return [group[place] for place in range(longest) for group in divided if len(group) > place]


def words(texts: Sequence[Sequence[str]], index: int, avoid: str) -> tuple[str, ...]:
    """The words that set the texts of one group apart from those of the others."""
    others = [text for position, found in enumerate(texts) if position != index for text in found]
    return naming.words(texts[index], others, avoid) if len(texts[index]) > 1 else ()


def title(found: Sequence[str], group: Group) -> str:
    """The name of a theme: its own words where its stories belong together, else their category."""
    category = group[0][0].category
    together = len({story[0].theme for story in group}) == 1
    if not together and len({story[0].category for story in group}) > 1:
        return MIXED
    if not together or len(group) < SMALLEST_THEME or not found:
        return category
    first = found[0][:1].upper() + found[0][1:]
    return ", ".join((first, *found[1:3])) if len(found) > 1 else f"{category}: {found[0]}"
