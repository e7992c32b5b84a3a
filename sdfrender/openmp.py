"""Imported before torch, this has torch's threads sleep while they wait, and stay out of forks.

OpenMP's threads spin by default: between two pieces of work they keep their processors busy, and
beside other busy processes they wait for each other's turn. A fit that takes 14 s of processor time
alone took 132 s then. The policy is read when torch is loaded, so changing it later does nothing.
What the user set stays, under either name.

A process that is forked does not have the threads of its parent, and OpenMP waits for them for
ever. So torch works on one thread in a fork, as in the workers of its `DataLoader`.
"""

import os
import sys

from sdfrender.system import after_fork

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "passive"


def _alone() -> None:
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        set_num_threads(1)


after_fork(_alone)
