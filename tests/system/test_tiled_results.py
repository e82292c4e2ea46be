"""A reconstruction in a real Tiled server, while it grows and when it is done."""

from typing import Any

import numpy as np
import pytest

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.client import PtychoReconstruction
from ptycho_plugin.publishing.results import ResultWriter
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.options import ReconstructionOptions

OPTIONS = ReconstructionOptions(difference_map_iterations=4, maximum_likelihood_iterations=2)


@pytest.fixture
def engine(small_scan: PtychoDataset) -> Reconstruction:
    assert small_scan.probe is not None
    engine = Reconstruction(small_scan.geometry, small_scan.probe, small_scan.positions, OPTIONS)
    engine.add(small_scan.intensities()[:6], small_scan.positions[:6])
    engine.iterate()
    return engine


def test_the_map_grows_in_place_and_everything_comes_at_the_end(
    tiled: Any, engine: Reconstruction, small_scan: PtychoDataset
) -> None:
    writer = ResultWriter(tiled, "growing")
    assert writer.path not in tiled
    writer.write_live(engine.result())
    client: PtychoReconstruction = tiled["reconstructions"]["growing"]
    assert isinstance(client, PtychoReconstruction)
    assert (client.status, set(client)) == ("live", {"phase", "amplitude", "trusted"})
    first = client.phase
    np.testing.assert_array_equal(first, engine.result().phase)
    with pytest.raises(PublishingError, match="comes with the final result"):
        _ = client.probe
    np.testing.assert_array_equal(client.trusted, engine.result().trusted)
    live = client.plot()
    np.testing.assert_array_equal(live.axes[0].images[0].get_array().compressed(), first[client.trusted])
    assert "growing (live): 6 frames, object pixel" in live.get_suptitle()
    assert client.verdict == engine.result().verdict
    assert client.verdict.figures.stage == "live"

    engine.add(small_scan.intensities()[6:], small_scan.positions[6:])
    result = engine.finish()
    writer.write_live(result)
    assert not np.array_equal(client.phase, first)
    writer.write_final(result, {"run": {"exit_status": "success"}})

    client = tiled["reconstructions"]["growing"]
    assert client.status == "final"
    for key in ("phase", "amplitude", "object", "slices", "probe", "trusted", "positions", "positions_px"):
        np.testing.assert_array_equal(getattr(client, key), getattr(result, key), strict=True)
    np.testing.assert_array_equal(client.error, result.errors)
    assert client.geometry == result.geometry
    assert client.object_pixel == result.object_pixel
    assert client.r_factor == pytest.approx(result.residual)
    assert client.verdict == result.verdict
    assert client.verdict.figures.stage == "finished"
    assert client.metadata["frames"] == len(small_scan)
    assert client.metadata["provenance"]["source"] == {"run_uid": client.metadata["run_uid"]}
    assert client.metadata["provenance"]["options"] == OPTIONS.model_dump(mode="json")
    assert {"tiled", "bluesky", "numpy"} <= client.metadata["provenance"]["packages"].keys()
    assert client.metadata["run"]["exit_status"] == "success"
    assert "growing" in repr(client)


def test_an_unfinished_result_is_taken_over_and_a_final_one_is_not(
    tiled: Any, engine: Reconstruction
) -> None:
    ResultWriter(tiled, "again").write_live(engine.result())
    result = engine.finish()
    ResultWriter(tiled, "again").write_final(result)
    np.testing.assert_array_equal(tiled["reconstructions"]["again"].phase, result.phase)
    with pytest.raises(PublishingError, match="is final"):
        ResultWriter(tiled, "again").write_live(result)


def test_a_diverged_result_says_so_and_another_one_may_take_its_place(
    tiled: Any, engine: Reconstruction
) -> None:
    ResultWriter(tiled, "diverged").write_final(engine.result(), {"error": "it diverged"}, "diverged")
    client = tiled["reconstructions"]["diverged"]
    assert (client.status, client.metadata["error"]) == ("diverged", "it diverged")
    assert len(client.error) == 1
    result = engine.finish()
    ResultWriter(tiled, "diverged").write_final(result)
    client = tiled["reconstructions"]["diverged"]
    assert client.status == "final"
    np.testing.assert_array_equal(client.error, result.errors)
    assert "error" not in client.metadata
