"""Photographs of objects on a ground, under a lamp, painted, by a renderer of their own."""
