"""One reader for each layout of a data set's folder.

It imports the records of `data`; `data.open` chooses among them, and `from_meshes` writes the one
of `folder`.
"""
