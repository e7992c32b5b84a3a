"""`report.html`: one self-contained page to judge a run by looking."""
