"""How a fit goes: from the coarsest lattice and images to the finest, pass by pass.

It imports all that takes part in a pass: `photo`, `stereo`, `dense`, `optimize`, `surgery`; `fit`
imports it, and `results`, `prior` its `state`.
"""
