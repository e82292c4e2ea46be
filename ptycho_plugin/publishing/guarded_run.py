"""Reading a guarded run back: what ``from_uri(...)["raw"][uid]`` gives where a dose map is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bluesky_tiled_plugins.clients.bluesky_run import BlueskyRunV3

from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.dose_documents import DOSE_STREAM, read_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ptycho_plugin.publishing.client import PtychoReconstruction


class GuardedRun(BlueskyRunV3):
    """A run of bluesky's whose exposures a `DoseGuard` kept in its ledger, with the dose of their region.

    Tiled makes it of a run with the spec of this name.
    """

    @property
    def dose_map(self) -> DoseMap:
        """Dose of the region when the run had ended, of all its exposures, binned to 256 px at most.

        Raises
        ------
        PublishingError
            If the run did not come to its end, or kept none.
        """
        try:
            return read_map(self[DOSE_STREAM])
        except KeyError:
            raise PublishingError(
                f"run {self.start['uid']} keeps no dose map: it did not come to its end, or the log of its "
                "process says why; ptycho dose map computes one from the ledger"
            ) from None

    @property
    def reconstructions(self) -> list[PtychoReconstruction]:
        """What was made of this run, alone or with others of its scan; that of the most frames last."""
        from tiled.client.constructors import from_context

        from ptycho_plugin.publishing.search import reconstructions_of

        *root, _, uid = self.path_parts
        tree = from_context(self.context, self.structure_clients, node_path_parts=root)
        return reconstructions_of(tree, uid)

    def plot_dose(self) -> Figure:
        """Draw the dose map, with its material, the exposures' points and the budget."""
        from ptycho_plugin.view.dose_picture import figure_of_dose

        start = self.start
        where = f"region '{start['region']}' in area '{start['area']}', run {start['uid']}"
        return figure_of_dose(self.dose_map, where)
