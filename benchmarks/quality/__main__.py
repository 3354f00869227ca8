"""`python -m benchmarks.quality FOLDER`: measures an analysis engine on labelled data and writes quality.json."""

import argparse
import asyncio
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.quality import measuring, reading, show
from consumers.analysis import local
from contracts import analysis
from contracts.errors import FactoryError
from producer import datasets


async def measured(analyst: analysis.Analyst, folder: reading.Folder) -> measuring.Figures:
    """All that the folder allows to measure, and the choice of feeds, which needs none."""
    relevance, identity = measuring.Stopwatch(), measuring.Stopwatch()
    figures: measuring.Figures = {"relevance": {}, "summaries": {}, "duplicates": {}, "stories": {}}
    for name, articles in folder.articles.items():
        if any(article.topic for article in articles):
            figures["relevance"][name] = await measuring.relevance(
                analyst, articles, functools.partial(folder.phrase, name), relevance
            )
        if any(article.summary for article in articles):
            figures["summaries"][name] = await measuring.summaries(analyst, articles)
    for name, copies in folder.duplicates.items():
        figures["duplicates"][name] = await measuring.duplicates(analyst, copies, identity)
    for name, headlines in folder.stories.items():
        figures["stories"][name] = await measuring.stories(analyst, headlines)
    figures["speed"] = measuring.speed(relevance, identity)
    figures["sources"] = await measuring.feeds(analyst, datasets.packaged())
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, shows and writes; 2 with a message if the data cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="holds *.jsonl, *duplicate*.tsv or stories*.tsv, see docs/quality.md; without one only feeds are ranked",
    )
    parser.add_argument("--out", type=Path, default=Path("quality.json"), help="file for the figures")
    given = parser.parse_args(arguments)
    try:
        folder = reading.read(given.folder) if given.folder else reading.EMPTY
        figures = asyncio.run(measured(local.packaged(), folder))
        given.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (FactoryError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    Console(width=140).print(show.table(figures))
    print(f"written to {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
