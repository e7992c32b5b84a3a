"""Sparse rows and conjugate gradients in torch, on any device; what the CPU has from scipy."""
