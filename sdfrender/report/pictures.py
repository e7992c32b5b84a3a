"""Pictures for a page: what `sdfrender.files.previews` has for them."""

from sdfrender.files.previews import data_address, for_display

__all__ = ["data_address", "for_display"]
