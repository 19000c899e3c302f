"""What to decide. Pure and synchronous: ``now`` and ``rng`` are arguments; no I/O, no clock, no logging."""
