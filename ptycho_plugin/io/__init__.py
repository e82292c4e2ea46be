"""Files: scans in (documented HDF5 layout, CXI), scans and results out."""

from ptycho_plugin.io.hdf5_layout import write_dataset
from ptycho_plugin.io.reader import read_dataset
from ptycho_plugin.io.result_file import write_result

__all__ = ["read_dataset", "write_dataset", "write_result"]
