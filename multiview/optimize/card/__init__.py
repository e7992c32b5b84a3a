"""A step of Gauss-Newton in torch, for lattices on a card: the twin of what is in numpy and scipy.

Terms, weights and gradients are those of `optimize.normal_equations`; what is here is the band, its
sparse rows, the colours beside it and the solver. Lattice, photographs, colours and light are on
the card, and nothing as large as an image or a lattice is copied to the host inside a step.
"""
