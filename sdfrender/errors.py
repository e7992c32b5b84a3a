"""The error that means: the input is wrong, not the program."""


class InputError(ValueError):
    """Bad input. The message is one line that names the file or argument, the rule and the value.

    Commands print it without a traceback and exit with code 2.
    """
