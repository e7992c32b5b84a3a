"""Where an object is in a picture: silhouettes, plain backgrounds, minimum cuts.

`background` models the colour behind an object, `one_picture` finds an object in a single
photograph with it, `cut` divides a picture, `colors` tells how likely a colour is, `silhouettes`
closes what was seen. It imports `sdfrender.files`; `multiview` and `singleview` import it.
"""
