"""The whole pipeline with MinIO as the store, which `factory up` prefers where its binary stands in the home folder."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import minio
import psutil
import pytest

from contracts import reports
from contracts.states import ExecutionStatus
from infra import settings
from infra.local import control, s3
from infra.local import stack as local_stack
from producer import collection, demonstration, watching
from tests.factories import Factory

pytestmark = pytest.mark.minio


@pytest.fixture
def binary() -> Path:
    """The MinIO server that FACTORY_TEST_MINIO names."""
    named = os.environ.get("FACTORY_TEST_MINIO")
    if not named:
        pytest.skip("FACTORY_TEST_MINIO names no MinIO binary")
    return Path(named).resolve()


async def test_the_pipeline_runs_on_minio(factory: Factory, binary: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / local_stack.MINIO).parent.mkdir(parents=True)
    (home / local_stack.MINIO).symlink_to(binary)
    others = {name: value for name, value in factory.environment.items() if name not in settings.SERVERS["s3"]}
    around = settings.Surroundings(home, {**others, "FACTORY_HOME": str(home)})
    programs: set[str] = set()
    kept: set[str] = set()

    async def look(looks: AsyncIterator[watching.Progress]) -> watching.Progress:
        last = [progress async for progress in looks][-1]
        (pid,) = [row.pid for row in control.status(home) if row.name == "s3"]
        programs.add(psutil.Process(pid).exe())
        found = settings.load(around.environ)
        assert found.s3_endpoint != factory.settings.s3_endpoint
        kept.update(await asyncio.to_thread(_steps, found, last.execution.id))
        return last

    request = demonstration.Request("battery recycling", collection.samples(), everything=True)
    outcome = await demonstration.run(around, request, look, lambda said: None)
    assert programs == {str(binary)}
    assert outcome.status is ExecutionStatus.COMPLETED
    assert all(read.error is None for read in outcome.feeds.values())
    assert {"fetch_feeds", "classify_articles", "build_report"} <= kept
    assert outcome.report.keys() == {"html", "json", "markdown"}
    report = reports.Report.model_validate(json.loads(outcome.report["json"].read_bytes()))
    assert len(report.evidence) + len(report.left_out) == outcome.articles > 0


def _steps(found: settings.Settings, execution_id: object) -> set[str]:
    """The steps of an execution that have documents in the bucket."""
    client = minio.Minio(
        found.s3_endpoint.removeprefix("http://"),
        access_key=found.s3_access_key,
        secret_key=found.s3_secret_key,
        secure=False,
        region=found.s3_region,
    )
    names = [item.object_name or "" for item in client.list_objects(found.s3_bucket, recursive=True)]
    return {name.split("/")[3] for name in names if name.split("/")[2] == str(execution_id)}


def test_minio_is_ready_when_it_serves_and_not_when_it_listens(binary: Path, tmp_path: Path) -> None:
    server = s3.S3(tmp_path / "s3", tmp_path / "s3.log", minio_binary=binary)
    try:
        for _ in range(3):
            server.start()
            found = {name.removeprefix("FACTORY_S3_").lower(): value for name, value in server.variables.items()}
            client = minio.Minio(
                found["endpoint"].removeprefix("http://"), found["access_key"], found["secret_key"], secure=False
            )
            assert client.bucket_exists(found["bucket"])
            server.kill()
    finally:
        server.stop()
