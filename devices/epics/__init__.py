"""Ophyd devices over Channel Access, and the beamline that a file makes of them."""
