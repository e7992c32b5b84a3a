"""What the project stores and reads: lattices, lights, cameras, scenes.

Conventions of other formats are converted here and nowhere else. It imports `files`, `geometry`,
`view` and `meshes`.
"""
