"""The feed fetcher reads feeds from a real server, through the guard, in a real child process."""

import asyncio
import dataclasses
import datetime
import shutil
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest
import pytest_asyncio
import uvloop

from consumers.runtime import isolation
from consumers.stages import feed_fetcher
from consumers.stages.feeds import reader
from contracts import analysis, artifacts, errors, intelligence, messages, stages
from infra import fetch
from producer import feedserver

A = TypeVar("A")
R = TypeVar("R")

SAMPLES = Path(__file__).parents[2] / "producer" / "samples" / "feeds"
"""See the stage harness for tests of stages without servers; here the servers are the point."""


@dataclasses.dataclass
class Context:
    """What the feed fetcher uses of a stage's context."""

    pages: fetch.Fetcher
    children: isolation.ChildPool
    key: messages.TaskKey
    task: messages.TaskContext
    analyst: analysis.Analyst
    log: stages.Log
