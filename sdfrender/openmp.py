"""Imported before torch, this has torch's threads sleep while they wait.

OpenMP's threads spin by default: between two pieces of work they keep their processors busy, and
beside other busy processes they wait for each other's turn. A fit that takes 14 s of processor time
alone took 132 s then. The policy is read when torch is loaded, so changing it later does nothing.
What the user set stays, under either name.
"""

import os

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "passive"
