"""Images of shapes, and their derivatives: `render` and `linearize`.

A ray's hit is found by an engine, without derivatives; the pixel is then attached to the lattice
again, shaded and composited. It imports `geometry`, `view` and `engines`; the engines do not
import it.
"""
