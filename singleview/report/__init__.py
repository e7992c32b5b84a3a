"""`report.html` of a training: how it went, and what the network makes of unseen objects.

It imports all rooms that make or judge shapes; only the commands import it.
"""
