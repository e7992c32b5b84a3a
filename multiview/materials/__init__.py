"""Materials and light of a finished surface: base colour, roughness, one environment.

`observations` is what photographs show at its vertices, `model` predicts that, `solve` inverts the
model, `estimate` is the whole way from a scene and a lattice, `exported` a `.glb` of the result. It
imports `photo`, `scenes`, `texture` and `sdfrender`; `results` and the benchmark import it.
"""
