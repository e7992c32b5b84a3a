"""The commands of `multiview`, a file each: options and help, then a call of what does the work.

They import the settings, and what does the work only when they run: `--help` needs no torch. Only
`multiview.cli` imports them.
"""
