"""The base class of all errors. It is apart from the others since they import more."""


class Error(Exception):
    """The base class of all errors that this package raises about what a user provides.

    Each is also an error of Python that fits: a ValueError, if no other is documented. The message
    names the problem, its location and a solution.
    """
