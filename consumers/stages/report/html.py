"""Renders a report as one self-contained page: no scripts, nothing remote, every text escaped."""

import base64
import functools
import hashlib

import jinja2

from consumers.stages.report import view
from contracts import reports


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("consumers.stages.report", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = view.day
    environment.filters["link"] = view.link
    environment.filters["origin"] = view.origin
    environment.filters["several"] = view.several
    return environment


def render(report: reports.Report) -> bytes:
    """The page as UTF-8. Its policy allows its own style sheet by hash and nothing else."""
    environment = _environment()
    style = environment.get_template("report.css.j2").render().strip()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    template = environment.get_template("report.html.j2")
    page = template.render(report=report, view=view.of(report), style=style, policy=policy)
    return page.encode()
