"""The environment of the peers: their packages are pinned by hash and never mix with the factory's."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from benchmarks.systems import PEERS, ROOT

REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"
TEMPORAL = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
NAMED = ("faststream", "dramatiq", "celery", "dbos", "temporalio", "aio-pika", "pika", "psycopg2-binary", "matplotlib")


def prepare(say: Callable[[str], None]) -> dict[str, str]:
    """Installs the peers where they are not there yet; returns their versions.

    Temporal's development server is built from source where Go is at hand, and left out elsewhere.
    """
    folder = PEERS.parents[1]
    stamp = folder / f".setup-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not stamp.exists():
        say("installing the peers")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(PEERS), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        _run([*pip, "--only-binary", ":all:", "-r", str(REQUIREMENTS)])
        stamp.touch()
    if shutil.which("go") and not (folder / "bin" / "temporal").exists():
        say("building Temporal's development server (some minutes)")
        _run(["go", "install", TEMPORAL], GOBIN=str(folder / "bin"), GOFLAGS="-buildvcs=false")
    return _versions()


def _run(command: list[str], **environment: str) -> None:
    around = {**os.environ, **environment}
    subprocess.run(command, check=True, env=around)


def _versions() -> dict[str, str]:
    listed = subprocess.run([str(PEERS), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True)
    found = {package["name"]: package["version"] for package in json.loads(listed.stdout)}
    return {f"{name} (peer)": found[name] for name in NAMED if name in found}
