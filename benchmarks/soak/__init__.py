"""Guarded scans that are interrupted at random moments, and what the sample received of them."""
