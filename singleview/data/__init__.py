"""Sets of objects seen from many views: what training and evaluation read."""
