"""Benchmarks of speed, and results over several seeds. They run in a clone, and are not installed.

Each module of this package is a command. Run it by its script in `scripts/`, or by `python -m
benchmarks.NAME`. The packages `speed` and `replication` contain the code that commands share.
"""
