"""What the servers of the local stack have in common."""

from collections.abc import Mapping
from typing import Protocol

# Where programs are looked for; the stack does not depend on the PATH of whoever starts it.
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Server(Protocol):
    """A server that keeps its data in one folder and can be started there again, also after it was killed."""

    @property
    def name(self) -> str:
        """One word; the name of its log and of its row in `factory status`."""

    @property
    def pid(self) -> int | None:
        """The id of its main process while that runs."""

    @property
    def variables(self) -> Mapping[str, str]:
        """The FACTORY_* variables by which settings find it; final once it was launched."""

    def launch(self) -> None:
        """End what is left of an earlier run in its folder, and start it without waiting."""

    def wait(self) -> None:
        """Return when it answers; StackError with the end of its log if it does not."""

    def start(self) -> None:
        """Launch and wait."""

    def alive(self) -> bool:
        """Whether its main process runs."""

    def stop(self) -> None:
        """End it cleanly; returns when every process of it is gone."""

    def kill(self) -> None:
        """End it as a crash would; returns when every process of it is gone."""
