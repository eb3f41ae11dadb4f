"""Counters over time: collected from every running wire, kept in SQLite, read by the CLI, web and exporters at once.

A number goes through this package in the order of its files: :mod:`names` says what it is, :mod:`sources` reads it from
a wire, :mod:`collect` does so at each tick, :mod:`store` writes it and makes roll-ups (of what :mod:`recent` keeps),
:mod:`buckets` is the arithmetic of rates, and :mod:`history` reads it back. Subscribers and flows never come here, as
their number has no bound.
"""
