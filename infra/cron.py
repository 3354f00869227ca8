"""When something that comes again by the clock is due: cron expressions in a time zone."""

import datetime
import zoneinfo

import cronsim

from contracts.errors import FactoryError

FIELDS = 5


class CronError(FactoryError):
    """A cron expression or a time zone cannot be used."""


def next_due(expression: str, timezone: str, after: datetime.datetime) -> datetime.datetime | None:
    """The first moment after ``after`` that the expression names, None if there is none within fifty years.

    It means the wall clock of the time zone. What falls into the hour that is skipped in spring is due when that hour
    would have begun, and what falls into the hour that comes twice in autumn is due once. Raises CronError.
    """
    if len(expression.split()) != FIELDS:
        raise CronError(
            f"field 'cron' is '{expression}'; give five fields: minute, hour, day of month, month, day of week, "
            "such as '0 7 * * 1-5'"
        )
    start = after.astimezone(_zone(timezone))
    try:
        moments = cronsim.CronSim(expression, start)
    except cronsim.CronSimError as error:
        raise CronError(f"field 'cron' is '{expression}', in which a field is wrong: {error}; correct it") from error
    found = next(moments, None)
    return None if found is None else found.astimezone(datetime.UTC)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronError(
            f"field 'timezone' is '{name}', which is no time zone; give one such as UTC or Europe/Madrid"
        ) from error
