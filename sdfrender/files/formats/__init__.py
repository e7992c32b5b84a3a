"""Formats of others: 16-bit PNG, OpenEXR, Radiance, and what torch wrote."""
