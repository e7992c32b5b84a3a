"""From pictures alone to cameras: a folder of photographs or a video in, a scene out.

`find.find_cameras` is the whole way: `intake` and `video` (which pictures, upright), `pairs` and
`mapping` (features, matches and a model, by pycolmap), `trust` (whether to believe it), `world`
(which way is up, and true units), `page` (what was found, to look at). Nothing in
`multiview.scenes` imports from here: what this room writes is a scene as any other.
"""
