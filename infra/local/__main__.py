"""The supervisor as a process of its own; `factory up` starts it."""

import sys

from infra import settings
from infra.local import plan, supervisor

if __name__ == "__main__":
    here = settings.surroundings()
    sys.exit(supervisor.supervise(here, plan.recall(here.home)))
