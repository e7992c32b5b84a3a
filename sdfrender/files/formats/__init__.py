"""Picture formats that Pillow does not hold whole: 16-bit PNG, OpenEXR."""
