"""What can go wrong, in closed sets: classes of failure, reasons of rejection, and exceptions that carry them."""

import enum


class ErrorClass(enum.StrEnum):
    """Why an attempt failed; the retry policy of a step decides by it."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    INVALID_INPUT = "invalid_input"
    INPUT_GONE = "input_gone"
    TIMEOUT = "timeout"
    BUDGET = "budget"
    CRASH_LOOP = "crash_loop"


class Reason(enum.StrEnum):
    """Why a message was refused or set aside."""

    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    TOO_LARGE = "too_large"
    INVALID_REPLY_TO = "invalid_reply_to"
    FORBIDDEN = "forbidden"
    UNKNOWN_CLIENT = "unknown_client"
    UNKNOWN_TEMPLATE = "unknown_template"
    UNKNOWN_EXECUTION = "unknown_execution"
    UNKNOWN_STAGE = "unknown_stage"
    TIER_FORBIDDEN = "tier_forbidden"
    INVALID_PARAMETERS = "invalid_parameters"
    OVER_BUDGET = "over_budget"
    CONFLICT = "conflict"
    NOT_POSSIBLE = "not_possible"
    DATA_ERROR = "data_error"
    DELIVERY_LIMIT = "delivery_limit"
    REJECTED = "rejected"
    CRASH_LOOP = "crash_loop"
    FAILED = "failed"


class FactoryError(Exception):
    """Something that the factory can explain to the person who caused or can mend it."""


class MessageError(FactoryError):
    """A message cannot be used; ``reason`` says which rule it breaks."""

    def __init__(self, reason: Reason, explanation: str) -> None:
        super().__init__(explanation)
        self.reason = reason


class TemplateError(FactoryError):
    """A template or its parameters are wrong; ``problems`` names each field, its value and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StageError(FactoryError):
    """A stage ends its attempt with a class of failure and, if it likes, a few details for whoever reads the record."""

    error_class = ErrorClass.PERMANENT

    def __init__(self, explanation: str, details: dict[str, str] | None = None) -> None:
        super().__init__(explanation)
        self.details = details or {}


class TransientError(StageError):
    """Trying again later may help; ``after`` is the least delay in seconds, if the other side named one."""

    error_class = ErrorClass.TRANSIENT

    def __init__(self, explanation: str, details: dict[str, str] | None = None, after: float | None = None) -> None:
        super().__init__(explanation, details)
        self.after = after


class OutageError(TransientError):
    """A server that the factory itself needs is away: no fault of the work, so that the attempt is not charged."""


class BusyError(TransientError):
    """Others are at what the attempt wanted, and it was not its turn within its patience: it is not charged either."""


class PermanentError(StageError):
    """Trying again cannot help."""

    error_class = ErrorClass.PERMANENT


class InvalidInputError(StageError):
    """The input does not fit the stage's model or its rules."""

    error_class = ErrorClass.INVALID_INPUT


class InputGoneError(StageError):
    """A referenced object is missing or is not what its reference says."""

    error_class = ErrorClass.INPUT_GONE


class BudgetError(StageError):
    """The work would cost more than is left."""

    error_class = ErrorClass.BUDGET
