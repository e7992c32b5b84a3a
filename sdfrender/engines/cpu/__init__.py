"""The engine for processors: cells drawn into the image, compiled by numba.

`engine` is what `rendering` calls. The way there and back: `forward` draws, `backward` pulls
gradients back, `jacobian` lists the local terms of J. It imports `kernels`.
"""
