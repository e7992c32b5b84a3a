"""Bytes on disk: whole or not at all, tables, tensors, pictures, the files of a run.

Nothing here knows a shape. It imports nothing of the project but errors; every room may
import it.
"""
