"""Gradients of the CPU engine: cotangents of pixels pulled back to vertices, light and cameras.

It imports `kernels` and `forward`.
"""
