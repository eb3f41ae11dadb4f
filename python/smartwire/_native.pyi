"""The Rust core (crates/py). Every function raises `smartwire.Error` with one sentence, and nothing else."""

__version__: str

def reasons() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(refuse reasons, stop reasons), each a list of (name, sentence) in the order of the codes."""

def profile_names() -> list[str]:
    """Names of the built-in link profiles."""

def profile(name: str, seed: int = 1) -> str:
    """A built-in profile as JSON: name, text, radio_rtt_ms, and the links down and up."""

class Emulator:
    """A link emulator between two interfaces. `spec` is JSON (crates/sim/src/emulator: EmulatorSpec)."""

    def __init__(self, spec: str, access: str, core: str) -> None: ...
    def run(self) -> str:
        """Forwards until `stop`, in the caller's network namespace; returns a summary as JSON.

        Call it in a thread of its own: signal handlers of Python do not run on a thread that is in here.
        """

    def order(self, order: str) -> None:
        """An order, JSON, carried out within 10 ms: {"freeze": {"ms", "down", "up"}}, {"heal": {}}, {"restart": {}}."""

    def stop(self) -> None:
        """Ends `run` within 10 ms."""
