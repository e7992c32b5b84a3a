"""From posed images of an object to its lattice and its watertight mesh."""

import logging

import sdfrender  # noqa: F401  # before torch: see sdfrender.openmp

# As a library it prints nothing; who wants its messages gives this logger a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())
