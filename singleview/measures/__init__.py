"""How good a predicted shape is, and tables of it.

Measures of meshes, samples and silhouettes are those of `sdfrender.meshes.metrics`; here is how
data sets and networks come to them. It imports `data`, `models` and `pictures`; `training`,
`predict`, `evaluate` and `report` import it.
"""
