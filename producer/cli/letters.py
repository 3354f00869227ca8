"""Dead letters and operations over them as people read them."""

import dataclasses
from collections.abc import Mapping, Sequence

import rich.text

from contracts.messages import Json
from infra import tracing
from infra.dead_letters import Contents, Letter, Tally
from infra.dead_operations import Operation
from producer import letters
from producer.cli import output

EXPLANATION = 90


def listing(found: Sequence[Letter]) -> None:
    """A line for each letter."""
    rows = [
        (
            letter.id,
            output.when(letter.created_at),
            letter.status,
            letter.error_class or letter.reason,
            letter.client or "",
            letter.tier or "",
            _place(letter),
            _short(letter.problem or letter.explanation),
        )
        for letter in found
    ]
    output.table(("id", "came", "status", "why", "client", "tier", "where", "explanation"), rows, "no dead letters")


def _place(letter: Letter) -> str:
    if letter.kind == "message":
        return f"{letter.message_type or 'a message'} in {letter.queue or 'no queue'}"
    shard = f"/{letter.shard}" if letter.shard else ""
    return f"{letter.stage}, step {letter.step}{shard}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXPLANATION else line[: EXPLANATION - 1] + "…"


def tally(found: Sequence[Tally]) -> None:
    """How many letters are alike."""
    rows = [(t.letters, t.kind, t.error_class or t.reason, t.place) for t in found]
    output.table(("letters", "what", "why", "where"), rows, "no open dead letter fits")


def document(letter: Letter) -> dict[str, object]:
    """A letter for programs, with its body as far as it can be read."""
    fields = {field.name: getattr(letter, field.name) for field in dataclasses.fields(letter)}
    fields["trace_id"] = tracing.trace_id(letter.traceparent)
    if isinstance(letter, Contents):
        del fields["body"]
        fields |= letters.body(letter)
    return fields


def show(letter: Contents) -> None:
    """Everything about one letter."""
    facts = {
        "status": f"{letter.status} {output.when(letter.resolved_at)}".strip(),
        "why": letter.reason if letter.error_class is None else f"{letter.reason} ({letter.error_class})",
        "explanation": letter.explanation,
        "problem": letter.problem,
        "note": letter.note,
        "client": " ".join(part for part in (letter.client, letter.tier) if part),
        "template": letter.template,
        "execution": letter.execution_id,
        "task": _task(letter),
        "trace": tracing.trace_id(letter.traceparent),
        "operation": letter.operation_id,
        "again of": letter.again_of,
    }
    output.say(f"dead letter {letter.id}: {_place(letter)}, {output.when(letter.created_at)}")
    _facts(facts)
    if letter.body is not None:
        output.say("message")
        _facts({
            "type": letter.message_type, "id": letter.message_id, "exchange": letter.exchange, "queue": letter.queue,
            "routing key": letter.routing_key, **{f"header {name}": value for name, value in letter.headers.items()},
            "readable": letters.legible(letter),
        })  # fmt: skip
        output.say(letters.shown_body(letter))
    _refs(letter.refs)
    _history(letter.history)


def _task(letter: Letter) -> str:
    if letter.step is None:
        return ""
    place = f"step {letter.step} shard {letter.shard} epoch {letter.epoch} attempt {letter.attempt}"
    return f"{letter.stage or '?'}: {place}"


def _facts(facts: Mapping[str, object]) -> None:
    width = max((len(name) for name, value in facts.items() if value not in (None, "")), default=0)
    for name, value in facts.items():
        if value not in (None, ""):
            output.say(f"  {name:<{width}}  {value}")


def _refs(refs: Sequence[Mapping[str, Json]]) -> None:
    if refs:
        rows = [(r.get("step") or "", r.get("schema") or "", str(r.get("size", "")), str(r.get("uri"))) for r in refs]
        output.table(("of step", "schema", "bytes", "document"), rows, "")


TOLD = frozenset({"at", "kind", "shard", "attempt", "worker", "error_class", "explanation", "error"})


def _history(history: Sequence[Mapping[str, Json]]) -> None:
    rows = []
    for fact in history:
        rest = ", ".join(f"{name} {value}" for name, value in fact.items() if name not in TOLD and value)
        said = str(fact.get("explanation") or fact.get("error") or "")
        at = str(fact.get("at") or "")[:19].replace("T", " ")
        rows.append((
            at, fact.get("kind") or "", fact.get("shard") or "", fact.get("attempt") or "", fact.get("worker") or "",
            fact.get("error_class") or "", "; ".join(part for part in (said, rest) if part),
        ))  # fmt: skip
    if rows:
        output.table(("at (UTC)", "what", "shard", "attempt", "worker", "class", "explanation"), rows, "")


def operations(found: Sequence[Operation]) -> None:
    """A line for each operation."""
    rows = [
        (
            one.id, output.when(one.created_at), one.action, one.status, one.actor, progress(one), _chosen(one.filter),
            one.note,
        )
        for one in found
    ]  # fmt: skip
    output.table(("id", "began", "action", "status", "by", "letters", "filter", "note"), rows, "no operations yet")


def progress(operation: Operation) -> str:
    """How far an operation has come."""
    told = f"{operation.done} of {operation.total}"
    return f"{told}, {operation.problems} with a problem" if operation.problems else told


def _chosen(selection: Mapping[str, Json]) -> rich.text.Text:
    told = {name: value for name, value in selection.items() if name != "status"}
    parts = [f"{name} {_named(value)}" for name, value in told.items()]
    return rich.text.Text(", ".join(parts) or "all")


def _named(value: Json) -> str:
    if not isinstance(value, list):
        return str(value)
    shown = " ".join(str(item) for item in value[:5])
    return shown + (f" … ({len(value)})" if len(value) > 5 else "")
