"""Trained networks at work: from a picture, a cloud, a grid, a depth image to a shape.

It imports `models`, `training.checkpoint`, `pictures` and `measures`; `evaluate` and `report`
import it.
"""
