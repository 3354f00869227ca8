"""Steps as they are shown, for tests that draw them."""

from contracts.states import StepStatus
from infra import views

STEP = views.Step(
    step="",
    stage="work",
    status=StepStatus.PENDING,
    depends_on=(),
    fanned_out=False,
    attempt=1,
    retries=0,
    worker=None,
    summary={},
    error_class=None,
    error=None,
    fraction=None,
    note=None,
    output=None,
    files={},
    seconds=1.0,
    shards=None,
)
