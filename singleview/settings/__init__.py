"""What the commands are told: records of options, and the words that an option may be.

The bottom room: it imports `sdfrender.errors` and `sdfrender.options`, and no numerics, so that
`--help` answers at once. All other rooms import it; users import `singleview.config`.
"""
