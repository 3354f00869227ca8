"""Schedules as people give them: held to the same rules as a job before they are stored."""

import dataclasses
import datetime
import re

import pydantic

from contracts import messages, model, submissions
from contracts.errors import FactoryError, MessageError
from infra import cron, database, documents, identifiers, jobs, objects, schedules
from infra.schedules import Schedule
from producer import definitions, values
from producer.values import Value

ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
PARAMETERS = "parameters"
_NO_DAY = datetime.date(1970, 1, 1)
"""Documents of a schedule are read for as long as it exists; a store that expires by date must not take them."""


async def add(
    connection: database.Connection, store: objects.Objects, wanted: Schedule, given: dict[str, Value]
) -> Schedule:
    """Stores a schedule with these parameter values; it is due for the first time from now on.

    Raises FactoryError naming the field, its value and the remedy for whatever would make its jobs be rejected.
    """
    if not ID.fullmatch(wanted.id):
        raise FactoryError(
            f"field 'id' is '{wanted.id}'; give 1 to 64 lower-case letters, digits, dots, hyphens and underscores"
        )
    if cron.next_due(wanted.cron, wanted.timezone, datetime.datetime.now(datetime.UTC)) is None:
        raise FactoryError(f"field 'cron' is '{wanted.cron}', which never comes; correct day and month")
    template = await definitions.find(connection, wanted.template, wanted.template_version)
    known = (await jobs.clients(connection, [wanted.client])).get(wanted.client)
    if known is None or not known.active:
        raise FactoryError(
            f"field 'client' is '{wanted.client}', which is no active client; see 'factory clients list', or "
            "'factory clients add'"
        )
    place = documents.Place(wanted.client, _NO_DAY, messages.TaskKey(identifiers.new(), 1, PARAMETERS, 0, 1))
    try:
        complete = dataclasses.replace(wanted, parameters=await values.store(template, given, place, store))
        submissions.resolve(template, known.tier, complete.job("schedule"))
    except MessageError as error:
        raise FactoryError(f"{error.reason}: {error}") from error
    except pydantic.ValidationError as error:
        raise FactoryError(model.explain(error)) from error
    stored = await schedules.add(connection, complete)
    if stored is None:
        raise FactoryError(
            f"field 'id' is '{wanted.id}', which is taken; choose another, or remove that schedule"
        )
    return stored


async def find(connection: database.Connection, schedule_id: str) -> Schedule:
    """The schedule of that id; raises FactoryError if there is none."""
    found = await schedules.listing(connection, schedule_id)
    if not found:
        raise missing(schedule_id)
    return found[0]


def missing(schedule_id: str) -> FactoryError:
    """What to say about a schedule that does not exist."""
    return FactoryError(f"there is no schedule '{schedule_id}'; see 'factory schedules list'")
