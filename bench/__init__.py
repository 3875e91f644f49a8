"""Benchmarks: ratios of two things measured in one run on the real database and broker (`make bench`).

A module of this package measures one part and offers `measure() -> list[Measure]`; `__main__` runs them all. The
machines that run this are noisy and differ, so a figure is only ever compared with its partner in the same round.
"""
