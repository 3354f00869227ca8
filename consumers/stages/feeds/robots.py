"""What a site's robots.txt allows (RFC 9309), read by the standard library."""

import urllib.robotparser

import pydantic

from contracts import model

AGENT = "ai-factory"
"""The product token of the factory, by which a site can speak to it alone."""

LENGTH = 500 * 1024
"""Bytes that are read; RFC 9309, section 2.5, asks for no more."""

LONGEST_DELAY = 1.0
"""Seconds between two requests that a site may ask for; one that wants more is not asked for pages at all."""


class Request(model.Model):
    """A robots.txt, and the addresses of its site that are wanted."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    body: bytes
    urls: tuple[str, ...]


def allowed(request: Request) -> tuple[str, ...]:
    """Those of the addresses that may be fetched."""
    rules = urllib.robotparser.RobotFileParser()
    rules.parse(request.body[:LENGTH].decode("utf-8", "replace").splitlines())
    delay = rules.crawl_delay(AGENT)
    if delay is not None and float(delay) > LONGEST_DELAY:
        return ()
    return tuple(url for url in request.urls if rules.can_fetch(AGENT, url))
