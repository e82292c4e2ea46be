"""What a session does where its engine diverges."""

from collections.abc import Callable

import pytest

from ptycho_plugin.errors import DivergenceError, ReconstructionError
from ptycho_plugin.live.session import Session
from ptycho_plugin.reconstruction.result import Result


class Diverging:
    def __init__(self, result: Result) -> None:
        self.error = DivergenceError("it diverged in iteration 3", result)

    def iterate(self) -> float:
        raise self.error

    def finish(self, report: Callable[..., None]) -> Result:
        raise self.error


class Publisher:
    def __init__(self) -> None:
        self.kept: list[DivergenceError] = []

    def keep(self, error: DivergenceError) -> str:
        self.kept.append(error)
        return "it is here"


@pytest.mark.parametrize("step", [lambda session: session.iterate(), lambda session: session.finish({})])
def test_the_last_good_state_is_published_and_told(
    small_result: Result, step: Callable[[Session], None]
) -> None:
    session = object.__new__(Session)
    engine, publisher = Diverging(small_result), Publisher()
    session._engine, session._publisher, session._outside = engine, publisher, 0  # type: ignore[assignment]
    with pytest.raises(ReconstructionError, match="it diverged in iteration 3; it is here"):
        step(session)
    assert publisher.kept == [engine.error]
