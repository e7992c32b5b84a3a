"""Engines find what rays meet; `reference` defines the answer."""
