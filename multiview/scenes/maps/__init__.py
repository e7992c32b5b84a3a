"""Depth and normal maps beside a scene's pictures: their files, and what they are at one size.

Depths are camera z; what the pixels of normals are in their files is `multiview.map_settings.Frame`.
"""
