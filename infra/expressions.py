"""Expressions in CEL: compiled once, bounded in what they may cost, and explained where they are wrong."""

import copy
import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Mapping

import cel

from contracts import errors
from contracts.messages import Json

ROOTS = ("parameters", "context", "steps")
"""All that an expression knows: the job's parameters, the task's context, the summaries of finished steps by name."""

LENGTH_LIMIT = 2000
PLUS_LIMIT = 16
LOOP_LIMIT = 300
"""CEL as used here loops only in a macro and grows a value only with ``+`` and ``map``. There is no ``map``; an
expression has up to sixteen additions, or one loop and no addition, and then reads at most 300 values. That bounds the
worst evaluation found to a second. Two nested macros over 2,000 numbers run for minutes, and no time-out stops them."""

CONTEXT = ("client", "tier", "quality", "optimise_for", "template", "template_version", "budget")
LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "filter"})
_WORDS = frozenset({"true", "false", "null", "in"})
_TOKEN = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"|(?P<blank>\s+|//[^\n]*)|(?P<name>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<mark>.)"
)
_PLACE = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_FAILURES = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled expression; ``paths`` are the values it reads, such as ``("steps", "fetch", "found")``."""

    source: str
    paths: frozenset[Path]
    loops: bool
    code: cel.Program


@functools.lru_cache(maxsize=1024)
def compile(source: str) -> Program:
    """The program of an expression; raises TemplateError that names the expression, the place and the remedy."""
    if len(source) > LENGTH_LIMIT:
        raise _wrong(source, f"has {len(source)} characters and the limit is {LENGTH_LIMIT}; shorten it")
    try:
        code = cel.compile(source)
    except ValueError as error:
        raise _wrong(source, f"does not compile: {_place(str(error))}") from error
    tokens = [match for match in _TOKEN.finditer(source) if match.lastgroup != "blank"]
    bound = _bound(source, tokens)
    paths = frozenset(_paths(tokens))
    _refuse_unknown(source, set(code.variables()), bound, paths)
    return Program(source, paths, bool(bound), code)


def variables(program: Program) -> frozenset[Path]:
    """The values that the expression reads, each as a path from ``parameters``, ``context`` or ``steps``."""
    return program.paths


def evaluate(program: Program, variables: Mapping[str, Json]) -> Json:
    """The value of the expression; raises TemplateError that names the expression and what is wrong."""
    used = {root: _needed(program, root, variables[root]) for root in ROOTS if root in variables}
    if program.loops and (values := _count(used)) > LOOP_LIMIT:
        raise _wrong(program.source, f"loops, and what it reads holds {values} values; the limit is {LOOP_LIMIT}")
    try:
        value = program.code.execute(used)
    except _FAILURES as error:
        raise _wrong(program.source, _reason(error)) from error
    return _json(program.source, value)


def value(source: str, variables: Mapping[str, Json]) -> Json:
    """``evaluate`` for an expression that may not be compiled yet."""
    program = compile(source)
    return evaluate(program, variables) if program.paths else copy.copy(_constant(source))


@functools.lru_cache(maxsize=1024)
def _constant(source: str) -> Json:
    """The value of an expression that reads nothing, such as a cost of 1.0."""
    return evaluate(compile(source), {})


def condition(program: Program, variables: Mapping[str, Json]) -> bool:
    """Whether the condition holds; raises TemplateError as well if its value is neither true nor false."""
    result = evaluate(program, variables)
    if not isinstance(result, bool):
        raise _wrong(
            program.source, f"is {result!r:.80}, and a condition must be true or false; compare it with something"
        )
    return result


def _wrong(source: str, problem: str) -> errors.TemplateError:
    shown = source if len(source) <= 200 else source[:197] + "..."
    return errors.TemplateError([f"expression '{shown}' {problem}"])


def _place(report: str) -> str:
    """The most telling line of the compiler's report."""
    found = _PLACE.findall(report)
    if not found:
        return report.splitlines()[0][:200]
    line, column, reason = next((place for place in found if "Incomplete" not in place[2]), found[0])
    return f"line {line}, column {column}: {reason.partition(' expecting ')[0][:200]}; correct it there"


def _bound(source: str, tokens: list[re.Match[str]]) -> set[str]:
    """The loop variable of the expression, if it has a loop; refuses what could grow without bounds."""
    texts = [token[0] for token in tokens]
    called = [
        (texts[index - 1], texts[index + 1])
        for index in range(2, len(texts))
        if texts[index] == "(" and texts[index - 2] == "." and texts[index - 1] in LOOPS | {"map"}
    ]
    additions = texts.count("+")
    if any(name == "map" for name, _ in called):
        raise _wrong(source, "uses map, which is not available; pass the list on and let the stage work on its items")
    if len(called) > 1:
        raise _wrong(source, f"has {len(called)} loops ({', '.join(sorted(LOOPS))}) and may have one; split it")
    if additions > (limit := 0 if called else PLUS_LIMIT):
        raise _wrong(source, f"has {additions} additions and may have {limit}{' beside a loop' if called else ''}")
    return {variable for _, variable in called}


def _paths(tokens: list[re.Match[str]]) -> Iterable[Path]:
    texts = ["", *(token[0] for token in tokens), "", "", ""]
    for index, token in enumerate(tokens, start=1):
        if token.lastgroup == "name" and texts[index] in ROOTS and texts[index - 1] != "." and texts[index + 1] != "(":
            yield tuple(_members(texts, index))


def _members(texts: list[str], index: int) -> Iterable[str]:
    """The names of a path that begins at this token; it ends at a method or at an index that is not a literal."""
    yield texts[index]
    while True:
        mark, name, after = texts[index + 1 : index + 4]
        if mark == "." and after != "(":
            index += 2
            yield name
        elif mark == "[" and after == "]" and name[:1] in ("'", '"') and "\\" not in name:
            index += 3
            yield name.strip(name[0])
        else:
            return


def _refuse_unknown(source: str, used: set[str], bound: set[str], paths: frozenset[Path]) -> None:
    if shadowed := bound & {*ROOTS, *_WORDS}:
        raise _wrong(source, f"calls its loop variable '{min(shadowed)}'; give it another name")
    if unknown := used - bound - set(ROOTS):
        raise _wrong(
            source, f"uses '{min(unknown)}', which is not known; use parameters.NAME, context.NAME or steps.STEP.NAME"
        )
    if used & {"steps"} - bound and any(path == ("steps",) for path in paths):
        raise _wrong(source, "reads 'steps' without saying which; write steps.STEP.NAME")


def _needed(program: Program, root: str, value: Json) -> Json:
    """Only what is read, since every evaluation converts all that it is given."""
    names = {path[1] if len(path) > 1 else "" for path in program.paths if path[0] == root}
    if "" in names or not isinstance(value, dict):
        return value
    return {name: value[name] for name in names if name in value}


def _count(value: Json) -> int:
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    if isinstance(value, list):
        return sum(map(_count, value), start=1)
    return 1


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"reads '{error.args[0]}', which is not there; ask has(...) first, or use a name that is"
    if isinstance(error, TypeError):
        return (
            "mixes values of different types; CEL converts nothing by itself, so write double(x), int(x) or string(x), "
            "and give numbers such as 2.0 where others have a point"
        )
    return f"cannot be computed: {' '.join(str(error).split())[:200]}"


def _json(source: str, value: object) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(source, f"is {value}; guard the division with a condition")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_json(source, item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json(source, item) for key, item in value.items()}
    raise _wrong(source, f"is a {type(value).__name__}, which JSON cannot hold; convert it with string(...)")
