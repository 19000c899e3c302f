"""Tests of the real thing: ``arbstr serve`` in a process of its own, real signals, real files."""
