"""Data made from data: mirrored, warped, made up.

It imports `data` and `settings`; `training` and `from_meshes` import it.
"""
