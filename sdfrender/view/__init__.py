"""What looks at a shape: cameras and light, and how noisy what they see is.

Cameras are OpenCV's: right, down, forward, camera to world. Nothing here knows a lattice.
It imports nothing of the project but errors; every room above may import it.
"""
