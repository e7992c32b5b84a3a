"""Pictures that go in, and sheets of pictures that come out.

It imports nothing of `singleview`; all rooms may import it.
"""
