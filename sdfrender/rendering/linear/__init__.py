"""How images depend on the vertices: `linearize`, and products with the Jacobian.

It imports `rendering`.
"""
