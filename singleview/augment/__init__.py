"""Data made from data: mirrored, warped, made up.

It imports `data` and `measures`; `training` imports it.
"""
