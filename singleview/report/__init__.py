"""`report.html` of a training: how it went, and what the network makes of unseen objects.

It imports `data`, `models`, `training`, `predict`, `measures` and `evaluate`; only the commands
import it.
"""
