"""Sets of objects: posed pictures, points with occupancy or distances; what training reads.

Every object lies in its canonical frame: the middle of its box at the origin, y up, longest side
1.5. `open` finds the layout of a folder, `layouts` has a reader for each. It imports `settings`;
all other rooms may import it.
"""
