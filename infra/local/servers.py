"""What the servers of the local stack have in common."""

from collections.abc import Mapping
from typing import Protocol

# Where programs are looked for; the stack does not depend on the PATH of whoever starts it.
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Part(Protocol):
    """Anything that the supervisor keeps running."""

    @property
    def name(self) -> str:
        """The name of its log and of its row in `factory status`."""

    @property
    def pid(self) -> int | None:
        """The id of its main process while that runs."""

    def launch(self) -> None:
        """Start it without waiting."""

    def wait(self) -> None:
        """Return when it can be used; StackError with the end of its log if that does not come to pass."""

    def alive(self) -> bool:
        """Whether its main process runs."""

    def stop(self) -> None:
        """End it cleanly; returns when it is gone."""

    def kill(self) -> None:
        """End it as a crash would; returns when it is gone."""


class Server(Part, Protocol):
    """A server that keeps its data in one folder and can be started there again, also after it was killed.

    Launching ends what is left of an earlier run in the folder; stopping leaves no process of it behind.
    """

    @property
    def variables(self) -> Mapping[str, str]:
        """The FACTORY_* variables by which settings find it; final once it was launched."""

    def start(self) -> None:
        """Launch and wait."""
