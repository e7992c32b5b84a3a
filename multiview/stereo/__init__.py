"""Depths on which photographs agree with each other, patch by patch: rows of Gauss-Newton.

No model of light has a part in it. `match_kernel` compares patches on the tangent plane,
`matching` chooses depths, `agreement` scores a surface. `optimize.stereo_term` makes residuals of
it. It imports `photo` and `sdfrender`; `optimize`, `levels` and `results` import it.
"""
