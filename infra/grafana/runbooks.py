"""The runbooks as a dashboard, so that an alert's link leads to words and not to a repository."""

import re
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.builders import text as texts
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.text import TextMode

from infra.grafana.panels import FULL

NAME = "runbooks"
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
PAGE = Path(__file__).parents[2] / "docs" / "runbooks.md"


def chapters() -> Mapping[str, str]:
    """What the page says by the alert that it is about, in its order."""
    found = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {title: body.strip() for title, body in found}


def places() -> Mapping[str, int]:
    """The panel of each alert's runbook in the dashboard."""
    return {title: number for number, title in enumerate(chapters(), 1)}


def document() -> str:
    """The dashboard's JSON."""
    made = dashboard.Dashboard("Factory: runbooks").uid(f"factory-{NAME}").tags(["ai-factory"]).readonly()
    made = made.description("What to do when an alert fires.")
    for number, (title, body) in enumerate(chapters().items(), 1):
        words = _LINK.sub(_linked, body)
        panel = texts.Panel().id(number).title(title).mode(TextMode.MARKDOWN).content(words).span(FULL).height(12)
        made = made.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(made.build()) + "\n"


def _linked(found: re.Match[str]) -> str:
    """A link to another runbook leads to its panel; to other pages of the documentation there is no way from here."""
    panels = {f"#{title.lower()}": number for title, number in places().items()}
    text, target = found.groups()
    return f"[{text}](/d/factory-{NAME}?viewPanel={panels[target]})" if target in panels else text
