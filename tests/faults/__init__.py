"""Faults of docs/reference/faults.md that no room's own tests prove: what is wrong outside, and what a caller sees."""
