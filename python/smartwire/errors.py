"""What a person is told when something cannot be done."""


class Error(Exception):
    """One clear sentence that says what is wrong and what to do about it.

    Everything that Smartwire raises on purpose is of this class, the Rust core's errors and panics included.
    """

    exit_code = 1
    """What the command line exits with: 1, it failed."""


class UsageError(Error):
    """The command cannot mean anything as it was given."""

    exit_code = 2


class NotThere(Error):
    """What was asked about does not exist: no such wire, interface, flow, subscriber or file."""

    exit_code = 3
