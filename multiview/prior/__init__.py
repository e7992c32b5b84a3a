"""A learned family of shapes as a prior, for scenes of few views."""
