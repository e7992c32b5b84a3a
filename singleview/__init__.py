"""Learned shape from a single view: an image in, a signed distance lattice out."""
