"""What a fit leaves behind: measures, meshes, films, the report, a live view.

It imports every other room of `multiview` but `benchmark`; only `fit` and the commands import it.
"""
