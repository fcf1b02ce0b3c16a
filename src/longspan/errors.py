"""The one error a user causes and can mend."""


class InputError(ValueError):
    """Something the user gave is wrong.

    The message names the file, record or field, says what is wrong with it and what to do. The command prints
    it without a traceback and exits with code 2.
    """
