"""databroker's catalog class reads the run that the Tiled client reads, while it goes on and afterwards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databroker.client import BlueskyRun, CatalogOfBlueskyRuns
from tiled.client.constructors import from_context
from tiled.client.context import Context

from ptycho_plugin.publishing.raw_run_writer import ROWS_PER_WRITE, RawRunWriter
from ptycho_plugin.publishing.server import LocalTiledServer


@pytest.fixture
def catalog(tiled_server: LocalTiledServer, tiled: Any, tmp_path: Path) -> Iterator[CatalogOfBlueskyRuns]:
    """databroker's own, in a session of its own."""
    RawRunWriter(tiled)  # there is no catalog before the first writer
    context, _ = Context.from_any_uri(tiled_server.uri)
    with context:
        yield from_context(context)["raw"]


def test_the_same_run_is_read(catalog: Any, tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    write = RawRunWriter(tiled)
    frames, rows = scan.metadata.frame_key, list(scan.metadata.position_keys)
    for name, document in scan.documents(count=ROWS_PER_WRITE):
        if name == "stop":
            during = catalog[scan.uid]["primary"]
            assert "stop" not in catalog[scan.uid].metadata
            np.testing.assert_array_equal(during[frames][ROWS_PER_WRITE - 1], scan.frames[ROWS_PER_WRITE - 1])
        write(name, document)
    run, same = catalog[scan.uid[:8]], tiled["raw", scan.uid]  # the first letters of a uid are enough there
    assert isinstance(catalog, CatalogOfBlueskyRuns)
    assert isinstance(run, BlueskyRun)
    assert run.metadata == same.metadata
    read = run["primary"].read([*rows, frames])
    np.testing.assert_array_equal(read[frames], scan.frames[:ROWS_PER_WRITE])
    np.testing.assert_array_equal(
        np.column_stack([read[row] for row in rows]), scan.stage_um[:ROWS_PER_WRITE]
    )
    assert list(run.documents()) == list(same.documents())
