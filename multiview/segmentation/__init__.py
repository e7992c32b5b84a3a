"""Where the object is in photographs that nothing was cut out of: masks from cameras and points.

The cameras look at it, it stands on something, and it is one thing. `object_box` finds it among the
points of a sparse model (or those of `stereo_points`, where a scene has none), `support` knows what
the surface under it looks like, colours what it looks like itself, a minimum cut divides each
picture, `votes` makes one shape of all cuts, and `find_masks` goes round until that settles. It
imports `scenes`, `dense`, `photo`, `sdfrender.hull` and `sdfrender.masks`.
"""
