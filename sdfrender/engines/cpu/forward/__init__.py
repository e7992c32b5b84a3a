"""Images of the CPU engine: near cells, their raster, then each pixel shaded once.

It imports `engines.common`; `backward` and `jacobian` import it.
"""
