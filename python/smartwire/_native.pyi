"""The Rust core (crates/py). Every function raises `smartwire.Error` with one sentence, and nothing else."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from os import PathLike
from typing import Any

__version__: str

def reasons() -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """(refuse reasons, stop reasons, findings), each a list of (name, sentence) in the order of the codes."""

def bench_engine(flows: int, packets: int, seed: int) -> dict[str, Any]:
    """Measures the engine without I/O on the calling thread: the document of `smartwire bench engine --json`.

    Args:
        flows: connections resident, at least 2; the first half is IPv6.
        packets: packets in mixed batches; as many again by class.
        seed: of everything random.
    """

def profile_names() -> list[str]:
    """Names of the built-in link profiles."""

def profile(name: str, seed: int = 1) -> str:
    """A built-in profile as JSON: name, text, radio_rtt_ms, and the links down and up."""

def simulate(plan: str, progress: Callable[[float], object]) -> str:
    """Runs a plan, JSON, in virtual time and returns its report as JSON (crates/sim/src/measure.rs: Plan, Report).

    `progress` is called with the share that is done; what it raises ends the run.
    """

def replay(frames: list[tuple[int, int, int, bytes, int]]) -> str:
    """Runs captured frames through the engine in virtual time; returns a report as JSON (crates/sim/src/replay).

    Each frame is (ns, interface, direction, bytes, length on the wire), as `smartwire.pcapng.Packet` has them.
    """

def run_script(path: str, text: str, variant: str | None = None, verbose: bool = False) -> str:
    """Runs a packet script in all variants, or in one; returns a report as JSON (crates/sim/src/script: Report)."""

def script_from(
    name: str, frames: list[tuple[int, int, int, bytes, int]], flow: int | None = None, most: int = 400
) -> str:
    """Writes the packet script of a connection in a capture; frames as for `replay`."""

def script_variants() -> list[str]:
    """Names of the variants in which each packet script runs."""

def fuzz_worlds(
    from_seed: int,
    seeds: int,
    jobs: int,
    limit_s: float | None,
    shrink_runs: int,
    progress: Callable[[int, int], object],
) -> tuple[int, int, list[tuple[int, str, str | None]]]:
    """Runs the worlds of seeds: how many were run, virtual ns, failures (seed, what, file of the smallest such world).

    `progress` is called with how many were run and how many failed; what it raises ends the run (crates/sim/src/fuzz).
    """

def fuzz_again(text: str) -> str | None:
    """Runs the world that stands in a file of `fuzz_worlds` again; what goes wrong in it, or nothing."""

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

class Bare:
    """Frames between two interfaces through user space and nothing else, for the lab to compare with."""

    ready: bool
    """Frames flow."""

    def __init__(self, access: str, core: str) -> None: ...
    def run(self) -> None:
        """Forwards until `stop`. Call it in a thread of its own."""

    def stop(self) -> None:
        """Ends `run` within some milliseconds."""

class Wire:
    """Interfaces joined into a wire; its threads never touch Python.

    Args:
        pairs: (access, core) interface names.
        stats, events: where the stats page and the event ring are to be (:mod:`smartwire.wire.stats`).
        io: "auto", "xdp" or "packet".
        workers: engines, each with a thread.
        observe: count only, touch nothing.
        mend: switch off offloads that are in the way.
        fill_checksums: complete partial checksums of what arrives.
        frames: frame buffers; None lets the machine's memory decide.
        max_flows: connections that may be resident.
        journal: record all input of the engine to this file.
        seed: of the engine's randomness; None for a fresh one.
        policies: document of the policies to begin with (:mod:`smartwire.config.rulings`).
        ipv6_prefix_length: IPv6 addresses that share so many bits are one subscriber; None for 64.
        subscribers_by: "address", or "outer-vlan": all that is in one outer VLAN is one subscriber.
    """

    def __init__(
        self,
        pairs: list[tuple[str, str]],
        stats: PathLike[str],
        events: PathLike[str],
        *,
        io: str = "auto",
        workers: int = 1,
        observe: bool = False,
        mend: bool = False,
        fill_checksums: bool = False,
        frames: int | None = None,
        max_flows: int | None = None,
        journal: PathLike[str] | None = None,
        seed: int | None = None,
        policies: str | None = None,
        ipv6_prefix_length: int | None = None,
        subscribers_by: str = "address",
    ) -> None: ...
    def describe(self) -> dict[str, Any]:
        """What was chosen: io, why (not better, sentences), frames, frame_bytes, ring, mtu."""

    def order(self, do: str, target: dict[str, Any], limit_s: float) -> int:
        """Carries out "drain", "bypass" or "resume" of a target (:mod:`smartwire.wire.target`); returns how many
        connections it concerns."""

    def flows(self) -> list[dict[str, Any]]:
        """Connections, at most 20,000 per worker. Index 0 of a pair is the stream from the access side."""

    def subscribers(self) -> list[dict[str, Any]]:
        """Subscribers, at most 20,000 per worker."""

    def set_policies(self, document: str) -> None:
        """Puts other policies in force, in each engine between two batches."""

    def policies(self) -> list[list[tuple[str, int]]]:
        """The policies in force, and the classes, in their order, each with how many connections it had."""

    def drained(self) -> bool:
        """True when nothing is optimized any more."""

    def failed(self) -> str | None:
        """Why the wire stopped by itself, if it did; the copper wire forwards then."""

    def news(self) -> list[str]:
        """Ports that went down or came back since the last call, a sentence each without a full stop."""

    def capture(
        self, path: PathLike[str], target: dict[str, Any], *, snap: int = 262144, packets: int | None = None
    ) -> None:
        """Captures the target's frames, as they come in and as they go out, to a pcapng file until `capture_end`."""

    def captured(self) -> tuple[int, int, bool] | None:
        """(packets, dropped, done) of the running capture."""

    def capture_end(self) -> tuple[int, int, bool] | None:
        """Ends the capture; its file is complete then."""

    def stop(self) -> None:
        """Opens the copper wire and closes the ports."""

def policies_of(
    document: str, connections: Sequence[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address, int, int]]
) -> list[str | None]:
    """The policies that a document has for connections: (client, server, the server's port, outer VLAN) each."""

def guard_wire(port: str, lifeline: int) -> None:
    """Watches over the wire of a port until the other end of the pipe `lifeline` is closed, or the wire's process gives
    it back or loses it; resets the connections that would hang when it is gone, stopped, or hangs."""

def unwire(access: str, core: str) -> bool:
    """Takes everything of Smartwire off two interfaces; False if nothing was there."""

def copper(access: str, core: str) -> bool:
    """Joins two interfaces by the copper wire alone, as a stopped engine leaves them; True if they were so before."""

class BpfMap:
    """A BPF map of the proxy; keys and values are bytes, laid out as :mod:`smartwire.proxy.layout` says.

    Args:
        kind: hash, lru-hash, array, per-cpu-array, lpm-trie, inner-array (for a map of maps), sockmap.
        key, value: sizes in bytes.
    """

    def __init__(self, kind: str, name: str, key: int, value: int, entries: int) -> None: ...
    @staticmethod
    def of_maps(name: str, entries: int, inner: BpfMap) -> BpfMap:
        """An array of maps like `inner`; its values are their descriptors."""

    @staticmethod
    def of_wire(ifindex: int, symbol: str) -> BpfMap:
        """A map of the wire on an interface, by the name that programs give it."""

    def fd(self) -> int:
        """Its file descriptor."""

    def update(self, keys: bytes, values: bytes) -> None:
        """Sets any number of values, keys and values one behind the other."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; of a per-CPU map, one behind the other for each possible CPU."""

    def delete(self, keys: bytes) -> int:
        """Removes any number of keys; returns how many were there."""

    def dump(self) -> tuple[bytes, bytes]:
        """All keys and all values of a hash."""

class BpfLink:
    """Keeps a program attached to a network namespace for as long as it is referred to."""

    def fd(self) -> int:
        """Its file descriptor."""

class BpfProgram:
    """A loaded program of the proxy: "port", "veth" or "pick" (bpf/proxy_*.bpf.c), with its maps by name."""

    def __init__(self, which: str, maps: dict[str, BpfMap]) -> None: ...
    def attach_tc(self, ifindex: int) -> None:
        """Puts it on an interface's ingress, in front of the copper wire; it stays when the process ends."""

    def attach_alone(self, ifindex: int) -> None:
        """The same for an interface of the proxy's own, where no other program is."""

    def attach_netns(self, netns: int) -> BpfLink:
        """Attaches it to the network namespace behind a file descriptor."""

    def time(self, frame: bytes, repeat: int) -> tuple[int, int]:
        """Runs it on a frame; its verdict, and nanoseconds per run."""

def proxy_take_off(ifindex: int) -> bool:
    """Takes the proxy's program off an interface; False if it was not there."""

def proxy_is_on(ifindex: int) -> bool:
    """True if a proxy's program is on the interface."""

def replay_journal(path: PathLike[str]) -> dict[str, Any]:
    """Runs a journal (`Wire(journal=...)`) through an engine in virtual time.

    Returns:
        identical, first_difference (call number and ns, or None), calls, frames_in, frames_out, bytes_out, digest,
        duration_s, cut_off, counters.
    """
