"""`report.html` of a training: how it went, and what the network makes of unseen objects."""
