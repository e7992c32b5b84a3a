"""Base colour, roughness and specular of a surface under one environment light.

`microfacet` has the lobe and its split-sum tables, `environment` the light, `visibility` what of it
reaches a point, `shading` what an eye sees, `surface` a mesh with its materials and their file,
`relight` pictures of it. It imports `files`, `geometry`, `kernels`, `meshes` and `view`.
"""
