"""The feed server of the demonstration behaves like the web servers it stands for."""

import asyncio
import gzip
from pathlib import Path

import pytest

from contracts import errors
from infra import fetch
from producer import feedserver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a secret beside it."""
    (tmp_path / "secret.xml").write_text("secret")
    served = tmp_path / "feeds"
    (served / "more").mkdir(parents=True)
    (served / "a.xml").write_text("<rss/>")
    (served / "b.json").write_text("{}")
    (served / "c d.atom").write_text("<feed/>")
    (served / "more" / "e.xml.gz").write_bytes(gzip.compress(b"<rss/>"))
    return served


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.xml", "application/xml"),
        ("b.json", "application/feed+json"),
        ("c%20d.atom", "application/atom+xml"),
        ("more/e.xml.gz", "application/gzip"),
    ],
)
async def test_files_are_served_as_they_are_with_their_type(folder: Path, path: str, kind: str) -> None:
    async with feedserver.serve(folder) as address, fetch.Fetcher(allow=[address]) as pages:
        page = await pages.fetch(f"http://{address}/{path}")

    assert page.headers["content-type"] == kind
    assert page.body == (folder / path.replace("%20", " ")).read_bytes()


async def test_an_unchanged_file_is_not_sent_again(folder: Path) -> None:
    async with feedserver.serve(folder) as address, fetch.Fetcher(allow=[address]) as pages:
        url = f"http://{address}/a.xml"
        first = await pages.fetch(url)
        by_tag = await pages.fetch(url, {"If-None-Match": first.headers["etag"]})
        by_date = await pages.fetch(url, {"If-Modified-Since": first.headers["last-modified"]})
        (folder / "a.xml").write_text("<rss version='2.0'/>")
        changed = await pages.fetch(url, {"If-None-Match": first.headers["etag"]})

    assert (by_tag.status, by_date.status) == (304, 304)
    assert (changed.status, changed.body) == (200, b"<rss version='2.0'/>")


@pytest.mark.parametrize("path", ["nothing.xml", "", "more", "../secret.xml", "%2e%2e/secret.xml", "..%2fsecret.xml"])
async def test_nothing_else_is_served(folder: Path, path: str) -> None:
    async with feedserver.serve(folder) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()

    assert b" 404 " in answer.splitlines()[0]
    assert b"secret" not in answer


async def test_it_listens_on_loopback_and_stops_with_its_context(folder: Path) -> None:
    async with feedserver.serve(folder) as address:
        assert address.startswith("127.0.0.1:")
    async with fetch.Fetcher(allow=[address]) as pages:
        with pytest.raises(errors.TransientError):
            await pages.fetch(f"http://{address}/a.xml")


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        async with feedserver.serve(tmp_path / "nowhere"):
            pass
