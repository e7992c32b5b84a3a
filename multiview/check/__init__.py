"""What a scene's files say, and which likely mistake explains what does not fit together.

Silhouettes and cameras of one object agree: the hull of all fills each mask. Where they do not,
`alternatives` tries what people get wrong (axes, poses, intrinsics, pictures) until they do.
`findings` names it, `inspect` is the whole way. It imports `scenes` and `sdfrender.hull`; only its
command imports it.
"""
