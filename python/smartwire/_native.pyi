"""The Rust core (crates/py). Every function raises `smartwire.Error` with one sentence, and nothing else."""

__version__: str

def reasons() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(refuse reasons, stop reasons), each a list of (name, sentence) in the order of the codes."""
