"""The one exception for bad input."""


class InputError(ValueError):
    """Something the user gave is wrong: the message names the key, file or value and what to do."""
