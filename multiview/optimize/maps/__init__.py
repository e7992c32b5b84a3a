"""Depth and normal maps as residuals: their term, what noise they have, scales of their own."""
