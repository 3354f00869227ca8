"""The command line as a whole: help at once, one document with --json, one line for a mistake, three exit statuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from producer.cli import app

ROOT = Path(__file__).parents[2]
LEAVES = {
    **{name: [name] for name in app.COMMANDS},
    "templates": ["templates", "apply"],
    "executions": ["executions", "list"],
    "deliverables": ["deliverables", "get"],
    "clients": ["clients", "add"],
    "schedules": ["schedules", "add"],
    "sources": ["sources", "list"],
    "budgets": ["budgets", "set"],
    "stages": ["stages", "pause"],
    "dead": ["dead", "list"],
    "stats": ["stats", "stages"],
}


def test_help_names_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in app.COMMANDS.items():
        assert (name in shown.split()) is not entry.hidden
    loaded = "import sys; from producer.cli import app; app.run(['--help']); print('\\n'.join(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert not {"pydantic", "asyncpg", "aio_pika", "minio", "aiohttp", "alembic", "yaml"} & set(modules.splitlines())


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*LEAVES[name], "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: factory " + " ".join(LEAVES[name]) in shown
    # Those that become another process have nothing to say themselves.
    assert ("--json" in shown) is (name not in ("coordinator", "worker"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demoo"], "Did you mean 'demo'"),
        (["up", "--workers", "0"], "--workers"),
        (["executions", "show", "12"], "UUID"),
        (["executions", "list", "--since", "yesterday"], "12h"),
        (["submit", "x"], "--client"),
        (["templates", "diff", "x", "1"], "two versions"),
        (["budgets", "set", "acme", "much"], "'much' is no amount; give US dollars"),
        (["executions", "budget", "0190c3f2-0000-7000-8000-000000000000", "-1"], "No such option"),
        (["executions", "budget", "0190c3f2-0000-7000-8000-000000000000", "inf"], "or 'none'"),
    ],
)
def test_a_wrong_command_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in " ".join(shown.err.replace("│", " ").split())


def test_a_failure_is_one_line_and_with_json_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FACTORY_AMQP_URL", "FACTORY_DATABASE_URL", "FACTORY_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    assert app.run(["clients", "list"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("factory: FACTORY_AMQP_URL is not set")
    assert "factory up" in shown.err
    assert shown.err.count("\n") == 1
    assert app.run(["clients", "list", "--json"]) == 1
    assert "FACTORY_AMQP_URL" in json.loads(capsys.readouterr().out)["error"]


def test_status_and_down_work_where_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "none"))
    assert app.run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["processes"] == []
    assert app.run(["status"]) == 0
    assert "factory up" in capsys.readouterr().out
    assert app.run(["down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] == []


def test_templates_are_validated_without_any_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(ROOT / "producer" / "templates" / "basic_research.yaml")
    assert app.run(["templates", "validate", good, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "problems": []}
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\nsteps: [{name: a, stage: rss_librarien}, {name: b, stage: feed_fetcher}]\n")
    assert app.run(["templates", "validate", good, str(bad), "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert problems[0].startswith(f"{bad}: step 'a': stage 'rss_librarien' is not known")
    assert len(problems) == 2
    assert app.run(["templates", "apply", str(bad)]) == 1
    assert capsys.readouterr().err.startswith(f"factory: {bad}: step 'a'")


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["demo", "--feeds", str(tmp_path / "none")]) == 1
    assert "give one that holds feeds" in capsys.readouterr().err
    (tmp_path / "a.xml").write_text("")
    (tmp_path / "index.tsv").write_bytes(b"filename\xff\n")
    assert app.run(["demo", "--feeds", str(tmp_path)]) == 1
    assert "is not UTF-8 at byte 8" in capsys.readouterr().err
