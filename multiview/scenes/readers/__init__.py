"""One reader for each layout of a scene's folder; all return the same frames.

Axes, pixel centres and polarity of masks are converted here. It imports `sdfrender.files`,
`sdfrender.io` and `scenes.frames`; only `scenes` imports it.
"""
