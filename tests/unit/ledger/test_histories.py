"""Whatever two sessions do, and whenever they end, the ledger says what a simple model says."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Delivered, Intent, Ledger

from .conftest import BEAM, OPENED

RUNS, SEATS = ("a", "b"), (0, 1)
PHOTONS = {"done": 900, "withdrawn": 0, "under way": 1000, "uncertain": 1000}
DELIVERED = Delivered(opened=OPENED, closed=OPENED, open_s=0.2, photons=900, photons_uncertainty=30)


def intent(run: str, point: int) -> Intent:
    return Intent(
        on="film", run_uid=run, point=point, start_um=(0, 0), open_s=0.2, photons_at_most=1000, beam=BEAM
    )


@dataclass
class Row:
    key: int
    run: str
    point: int
    attempt: int
    session: int
    settled: str | None = None


class Histories(RuleBasedStateMachine):
    """Two seats at a ledger; whoever sits there is a session, which ends and is followed by another."""

    def __init__(self):
        super().__init__()
        # In memory where the system has such a folder: what is on disk is for the test of crashes.
        memory = Path("/dev/shm")  # noqa: S108
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        path = Path(self.folder.name) / "film.ledger"
        self.ledgers = [Ledger(path, new=True), Ledger(path)]
        self.ledgers[0].samples.mount("film")
        self.path, self.sessions, self.rows = path, [0, 1], []

    def teardown(self):
        for ledger in self.ledgers:
            ledger.close()
        self.folder.cleanup()

    def status(self, row: Row) -> str:
        latest = [other for other in self.rows if other.session == row.session][-1]
        is_under_way = row.session in self.sessions and row is latest
        return row.settled or ("under way" if is_under_way else "uncertain")

    @rule(
        seat=st.sampled_from(SEATS), run=st.sampled_from(RUNS), point=st.integers(0, 1), again=st.booleans()
    )
    def intend(self, seat, run, point, again):
        of_point = [row for row in self.rows if (row.run, row.point) == (run, point)]
        mine = [row for row in self.rows if row.run == run and row.session == self.sessions[seat]]
        waits = any(self.status(row) == "under way" for row in of_point + mine)
        repeats = any(row.settled != "withdrawn" for row in of_point)
        try:
            key = self.ledgers[seat].intend(intent(run, point), again=again)
        except LedgerError:
            assert waits or (repeats and not again)
        else:
            assert not waits
            assert again or not repeats
            self.rows.append(Row(key, run, point, len(of_point) + 1, self.sessions[seat]))

    @rule(seat=st.sampled_from(SEATS), back=st.integers(1, 4), how=st.sampled_from(["done", "withdrawn"]))
    def settle(self, seat, back, how):
        for row in self.rows[-back:][:1]:
            own = row.session == self.sessions[seat]
            may = not row.settled and (own or self.status(row) == "uncertain")
            try:
                if how == "done":
                    self.ledgers[seat].confirm(row.key, DELIVERED)
                else:
                    self.ledgers[seat].withdraw(row.key, "not armed")
            except LedgerError:
                assert not may
            else:
                assert may
                row.settled = how

    @rule(seat=st.sampled_from(SEATS))
    def end_and_begin(self, seat):
        """A session that is killed leaves the same: see the test of crashes."""
        self.ledgers[seat].close()
        self.ledgers[seat] = Ledger(self.path)
        self.sessions[seat] = max(self.sessions) + 1

    @invariant()
    def every_session_says_what_the_model_says(self):
        for ledger in self.ledgers:
            for run in RUNS:
                found = ledger.exposures_of_run(run)
                arrays = (found.key, found.point, found.attempt, found.status, found.photons)
                assert list(zip(*(array.tolist() for array in arrays), strict=True)) == [
                    (row.key, row.point, row.attempt, self.status(row), PHOTONS[self.status(row)])
                    for row in self.rows
                    if row.run == run
                ]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=30, stateful_step_count=25)
