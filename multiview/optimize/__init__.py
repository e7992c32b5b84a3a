"""Optimisers of a lattice against images."""
