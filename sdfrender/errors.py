"""The error that means: the input is wrong, not the program."""

LONGEST = 1500  # letters of a message: names in files can be any length


class InputError(ValueError):
    """Bad input. The message is one line that names the file or argument, the rule and the value.

    Commands print it without a traceback and exit with code 2. Letters that are not printed, as
    line breaks in a name, are written as escapes; the middle of a very long message is left out.
    """

    def __init__(self, message: object = "") -> None:
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message))
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
        super().__init__(text)
