"""The engine in PyTorch, on any device: it defines the answer that the others are tested against.

`cell_root` solves the cubic of a cell, `events` composes coverage, `sphere_tracer` is the paper's.
It imports `geometry`; `rendering` imports it.
"""
