"""What calibrations and results look like in Tiled, and how they are written and read back."""
