"""Learned shape from a single view: an image in, a signed distance lattice out.

The way of the data: `align` turns meshes to one pose, `from_meshes` makes data sets of them, which
`data` reads; `augment` makes more of them; `models` are the networks, which `training` teaches;
`predict` puts them to work, `measures` and `evaluate` judge them, `report` shows it. `settings` is
what `commands` are told, `config` the door to it, `train` the loop over `training`. Beside
`settings` and `sdfrender`, every room imports only rooms that its own `__init__` names; none
imports `multiview`.
"""

import logging

import sdfrender  # noqa: F401  # before torch: see sdfrender.openmp

# As a library it prints nothing; who wants its messages gives this logger a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())
