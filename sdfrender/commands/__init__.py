"""The commands of `sdfrender`, a file each: options and checks first, then what does the work.

Heavy imports stand in the functions, so that `--help` is quick. Only `sdfrender.cli` imports them;
`process`, `signals` and `messages` serve the commands of `multiview` and `singleview` too.
"""
