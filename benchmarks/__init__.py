"""How fast, how small and how true the engines are: ``python -m benchmarks.engines``."""
