"""Define the exception for invalid input."""


class InputError(ValueError):
    """Invalid input from the user. The message is one line: `key: problem. Fix.`"""
