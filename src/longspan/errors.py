"""The error for mistakes in the user's input."""


class InputError(ValueError):
    """Raised if a file, record, field or argument from the user is wrong.

    The message names the file, record or field, says what is wrong and what to do. The command line prints it without
    a traceback and exits with code 2.
    """
