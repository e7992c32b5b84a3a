"""From posed images of an object to its lattice and its watertight mesh."""
