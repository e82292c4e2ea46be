"""Dose-aware X-ray ptychography run by Bluesky, reconstructed live, kept in Tiled."""
