"""The options that choose dead letters, and what they mean together."""

import dataclasses
import enum
from typing import Annotated
from uuid import UUID

import typer

from contracts.errors import ErrorClass, FactoryError, Reason
from contracts.messages import Json
from contracts.tiers import Tier
from infra import database, leases
from producer.cli import moments


class Kind(enum.StrEnum):
    """What a dead letter was."""

    MESSAGE = "message"
    STEP = "step"


class Status(enum.StrEnum):
    """How a dead letter stands."""

    OPEN = "open"
    REQUEUED = "requeued"
    DISCARDED = "discarded"
    ALL = "all"


OfStage = Annotated[str | None, typer.Option("--stage", help="Only this stage's.")]
WithReason = Annotated[Reason | None, typer.Option("--reason", help="Only those set aside for this.")]
OfClass = Annotated[ErrorClass | None, typer.Option("--class", help="Only steps that failed with this class.")]
OfTier = Annotated[Tier | None, typer.Option("--tier", help="Only this tier's.")]
OfClient = Annotated[str | None, typer.Option("--client", help="Only this client's.")]
OfTemplate = Annotated[str | None, typer.Option("--template", help="Only those of this template.")]
OfExecution = Annotated[UUID | None, typer.Option("--execution", help="Only those of this execution.")]
OfKind = Annotated[Kind | None, typer.Option("--kind", help="Only messages, or only steps.")]
Since = Annotated[str | None, typer.Option("--since", help="Came after: 30m, 12h, 7d ago, or a date and time.")]
Until = Annotated[str | None, typer.Option("--until", help="Came before that.")]


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """What the options say; None chooses nothing."""

    stage: str | None = None
    reason: Reason | None = None
    error_class: ErrorClass | None = None
    tier: Tier | None = None
    client: str | None = None
    template: str | None = None
    execution: UUID | None = None
    kind: Kind | None = None
    since: str | None = None
    until: str | None = None
    ids: tuple[int, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is chosen, which means everything."""
        return self == Filter()

    async def selection(self, connection: database.Connection, status: Status = Status.OPEN) -> dict[str, Json]:
        """The filter as operations record it, with its ages as moments of the database's clock."""
        told: dict[str, Json] = {
            name: str(value)
            for name in ("stage", "reason", "error_class", "tier", "client", "template", "execution", "kind")
            if (value := getattr(self, name)) is not None
        }
        for name, text in (("since", self.since), ("until", self.until)):
            if text is not None:
                told[name] = moments.parse(text, await leases.now(connection), f"--{name}").isoformat()
        if self.ids:
            told["ids"] = list(self.ids)
        return told if status is Status.ALL else {**told, "status": status.value}


def mass(chosen: Filter, everything: bool) -> Filter:
    """The filter of an action over many; raises FactoryError where it chooses all and nobody said so."""
    if chosen.ids and dataclasses.replace(chosen, ids=()) != Filter():
        raise FactoryError("ids and options cannot choose together; give either the one or the other")
    if chosen.empty and not everything:
        raise FactoryError("nothing is chosen; give ids, an option such as --stage or --reason, or --all for every one")
    return chosen
