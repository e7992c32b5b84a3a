"""Where the object is: masks that are given, from a background, from a matte, from other views.

It imports `scenes.frames` and `multiview.hull`; only `scenes` imports it.
"""
