"""A file per command: its options, its help, and what it prints.

They import `singleview.settings`, which needs no numerics; the rooms that do the work are imported
when a command runs, so that `--help` answers at once. Only `singleview.cli` imports them.
"""
