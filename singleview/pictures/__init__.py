"""Pictures that go in, and pictures of shapes that come out.

It imports `sdfrender` and `data`; all rooms above import it.
"""
