"""The lab's one exception: a sentence that says what to do."""


class LabError(RuntimeError):
    """The lab cannot go on; its text is one sentence with the fix."""
