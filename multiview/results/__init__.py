"""What a fit leaves behind: measures, meshes, films, the report, a live view.

`results` is what a fit writes when it ends, and its measures, which `evaluate` takes of each view;
`finished_run` measures and textures a run again. `textured_files`, `viewed`, `film` and `report`
write one file each; `live` and `watch` show a fit that runs.

It imports every other room of `multiview` but `benchmark`, and asks `scenes` for the scene of a
run; only `fit` and the commands import it.
"""
