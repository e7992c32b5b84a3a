"""Networks and baselines on shapes they have not seen, in one table.

A file for each kind of network; `evaluate` tells which. It imports `data`, `models`, `measures`,
`pictures`, `training`, `predict`, and of `from_meshes` the warped copies of meshes; `report` and
the commands import it.
"""
