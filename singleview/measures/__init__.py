"""How good a predicted shape is, and tables of it.

It imports `data`; all rooms above import it.
"""
