"""The factory's processes without their metrics: ``python -m benchmarks.unmeasured`` for ``python -m consumers``.

Only a measurement of what measuring costs wants it.
"""

import contextlib
import runpy

from infra import registries


class Nothing:
    """Stands for every metric and keeps none."""

    def labels(self, *_: object) -> "Nothing":
        """Itself, whatever the labels."""
        return self

    def ignore(self, *_: object) -> None:
        """What would have been kept."""

    inc = dec = set = observe = set_function = ignore

    def time(self) -> contextlib.AbstractContextManager[None]:
        """A context that measures nothing."""
        return contextlib.nullcontext()


def _nothing(*_: object) -> Nothing:
    return Nothing()


def _silent(*_: object) -> None:
    """What a coordinator would have counted."""


def main() -> None:
    """Runs what ``python -m consumers`` runs."""
    vars(registries).update(counter=_nothing, gauge=_nothing, histogram=_nothing)
    from consumers.coordinator import measures

    vars(measures).update(note=_silent, batch=_silent, ways=_silent, hop=_silent)
    runpy.run_module("consumers", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
