"""Meshes of a category turned to one pose: `singleview align`.

`turns` are the 24 rotations of a cube on voxels, `category` finds each mesh's rotation to the
others', `closer` turns it by the last degrees, `align` is the whole way, `sheet` shows it. It
imports `data` and `pictures`; only its command imports it.
"""
