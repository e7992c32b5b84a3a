"""Changes of the surface that no small step finds: concavities, floaters, handles.

It imports `photo` and `optimize`; `levels` imports it.
"""
