"""A stage that makes as many records as it is told, and takes one of them, or what was made of all."""

from typing import Any

from contracts import stages
from contracts.model import Artifact, Model, Summary


class Given(Model):
    """How many records to make; one record of a fan-out; what its shards have made together."""

    records: int = 0
    record: Any = None
    upstream: Any = None


class Made(Artifact):
    """The records, and how many results were read."""

    records: tuple[dict[str, int], ...]
    read: int

    def summary(self) -> Summary:
        """Their numbers, which a join adds up."""
        return {"made": len(self.records), "read": self.read}


SPEC = stages.StageSpec(name="fan", input=Given, output=Made, timeout=60, typical_seconds=0.002)


async def run(ctx: stages.StageContext, task: Given) -> Made:
    """Makes the records."""
    read = len(task.upstream["outputs"]) if isinstance(task.upstream, dict) else 0
    return Made(records=tuple({"number": number} for number in range(task.records)), read=read)
