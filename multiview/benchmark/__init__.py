"""Reconstruct known meshes from images of them, and say in one table how well that went."""
