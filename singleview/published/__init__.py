"""Weights that the authors of the papers published, read into our networks, key by key.

It imports `models`, `data`, `training` and `settings`; `commands` open it.
"""
