"""Networks from an image to a lattice of signed distances."""

from singleview.models.sdfdiff import Model, build_model
from singleview.models.small import Small

__all__ = ["Model", "Small", "build_model"]
