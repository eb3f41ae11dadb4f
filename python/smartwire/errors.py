"""What a person is told when something cannot be done."""


class Error(Exception):
    """One clear sentence that says what is wrong and what to do about it.

    Everything that Smartwire raises on purpose is of this class, the Rust core's errors and panics included.
    """
