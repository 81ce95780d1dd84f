"""Benchmarks of speed, and results over several seeds. Run from a clone; not in the wheel.

Each module beside this one is a command, run by the script of the same name in `scripts/`, or by
`python -m benchmarks.NAME` from the clone. `speed` and `replication` hold what they share.
"""
