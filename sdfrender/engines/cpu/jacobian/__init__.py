"""The Jacobian of the CPU engine as local terms of pixels: J v, Jᵀ r and the diagonal of JᵀJ.

It imports `kernels` and `forward`.
"""
