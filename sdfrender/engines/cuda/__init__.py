"""The CUDA engine: images and their derivatives on an NVIDIA card, by numba-cuda.

The formulas are those of `kernels`, compiled for the card; what is here says which thread does
what. Nothing of it has run on a card yet: kernels are compiled for two generations of cards and run
in numba's simulator (`NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1`), where tensors are on the CPU.
`available` says whether it can be used here. Imports `kernels` only.
"""
