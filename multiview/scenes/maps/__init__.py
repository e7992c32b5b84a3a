"""Depth and normal maps beside a scene's pictures: their files, and what they are at one size.

Depths are camera z; what normals are in in their files is `multiview.map_settings.Frame`.
"""
