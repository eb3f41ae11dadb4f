"""The Rust core (crates/py). Every function raises `smartwire.Error` with one sentence, and nothing else."""

__version__: str
