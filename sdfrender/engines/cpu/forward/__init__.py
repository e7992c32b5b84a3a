"""Images of the CPU engine: near cells, their raster, then each pixel shaded once.

It imports `kernels`; `backward` and `jacobian` import it.
"""
