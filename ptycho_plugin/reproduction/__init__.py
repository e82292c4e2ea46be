"""The published experiment, reproduced by simulation: from samples to maps, from maps to its figures."""
