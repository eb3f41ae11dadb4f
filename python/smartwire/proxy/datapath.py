"""The proxy's BPF maps and programs: made, filled, put on the ports, read."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from smartwire._native import BpfLink, BpfMap, BpfProgram, proxy_take_off
from smartwire.errors import Error
from smartwire.proxy.layout import (
    ACCESS,
    CHUNK_BYTES,
    CONTROL,
    CORE,
    COUNTERS,
    FLOW,
    KEY,
    NUMBERS,
    PLACE,
    RULES,
    SET_BYTES,
    WAY,
    Flow,
)  # fmt: skip
from smartwire.proxy.rules import Rule, Tables, compile_rules

ZERO = struct.pack("=I", 0)
SILENCE_NS = 450_000_000
"""Without a beat for so long, the programs send new connections direct."""
MOST_LISTENERS = 128
SEEN_WORD = 1
"""Where struct px_flow has `seen_ns`."""
RECENT_DIRECT = 1 << 16
WIRES = ("px_control_map", "px_tables_map", "px_ranges_map", "px_numbers_map", "px_classes_map",
         "sw_wire_map", "sw_subscribers_map", "sw_foreign_map")  # fmt: skip
"""Maps of the wire that the proxy's programs use; the wire's use those called px as well."""


@dataclass(frozen=True)
class Ports:
    """Interface indices of the ports; `vlans`, access and core, if both are one trunk."""

    access: int
    core: int
    vlans: tuple[int, int] | None = None


@dataclass
class Door:
    """What the kernel keeps of a container: the programs at its veths, and the choice of its listeners."""

    listeners: BpfMap
    link: BpfLink | None
    veths: list[BpfProgram]


@dataclass
class Datapath:
    """Everything of the proxy that is in the kernel.

    Args:
        ports: where the programs go.
        exact: HAProxy passes bytes and nothing else, so a FIN is right only behind the last of them.
        most_flows: at a time.
        wire: the maps of :data:`WIRES`.
    """

    ports: Ports
    exact: bool
    most_flows: int
    wire: dict[str, BpfMap]
    generation: int = 0
    listeners: int = 0
    container: int = 0
    open: bool = False
    rules: Sequence[Rule] = ()
    maps: dict[str, BpfMap] = field(default_factory=dict)
    doors: dict[int, Door] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.maps = self.wire | {
            "px_flows_map": BpfMap("hash", "px_flows", KEY.size, FLOW.size, self.most_flows),
            "px_direct_map": BpfMap("lru-hash", "px_direct", KEY.size, 4, RECENT_DIRECT),
            "px_counters_map": BpfMap("per-cpu-array", "px_counters", 4, 8 * len(COUNTERS), 1),
            "px_hits_map": BpfMap("per-cpu-array", "px_hits", 4, 8, 2 * (RULES + 1)),
            "px_ways_map": BpfMap("array", "px_ways", 4, WAY.size, 4),
        }

    def enter(self, container: int, nsid: int, veths: Sequence[int], netns: int | None) -> None:
        """Loads and attaches the programs that only a container meets.

        Args:
            container: 0 or 1.
            nsid: number of its network namespace, as the ports' namespace has it.
            veths: the host's ends, access and core.
            netns: its namespace, where sk_lookup is to choose a listener; None: something else does.
        """
        listeners = BpfMap("sockmap", "px_listeners", 4, 8, 2 * MOST_LISTENERS)
        link = None
        if netns is not None:
            link = BpfProgram("pick", self.maps | {"px_listeners_map": listeners}).attach_netns(netns)
        door = self.doors[container] = Door(listeners, link, [])
        for side, (veth, port) in enumerate(zip(veths, (self.ports.access, self.ports.core), strict=True)):
            program = self.program("veth", PLACE.pack(side, port, container, 0, 0, 0))
            program.attach_alone(veth)
            door.veths.append(program)
            self.maps["px_ways_map"].update(struct.pack("=I", 2 * container + side), WAY.pack(veth, nsid))

    def leave(self, container: int) -> None:
        """Lets go of a container."""
        self.doors.pop(container, None)

    def program(self, which: str, place: bytes) -> BpfProgram:
        """Loads a program for one place (struct px_place)."""
        places = BpfMap("array", "px_place", 4, PLACE.size, 1)
        places.update(ZERO, place)
        return BpfProgram(which, self.maps | {"px_place_map": places})

    def attach(self) -> None:
        """Puts the programs on the ports, and then lets the wire leave to them what is theirs."""
        self.close()
        p = self.ports
        if p.vlans:
            self.program("port", PLACE.pack(0, p.access, 0, 1, *p.vlans)).attach_tc(p.access)
        else:
            for side, port in ((ACCESS, p.access), (CORE, p.core)):
                self.program("port", PLACE.pack(side, 0, 0, 0, 0, 0)).attach_tc(port)
        self.maps["px_tables_map"].update(ZERO, struct.pack("=I", self.maps["px_flows_map"].fd()))

    def detach(self) -> None:
        """Takes them off the ports. A trunk keeps its program, which is its copper wire, too."""
        self.maps["px_tables_map"].delete(ZERO)
        if not self.ports.vlans:
            for ifindex in (self.ports.access, self.ports.core):
                proxy_take_off(ifindex)

    def beat(self) -> None:
        """Tells the programs that HAProxy is well, and all that they must know besides."""
        self._write(time.monotonic_ns())

    def _write(self, beat_ns: int) -> None:
        ports = (self.ports.access, self.ports.core)
        values = (beat_ns, SILENCE_NS, self.open, self.exact, self.generation, self.listeners, *ports, 0)
        self.maps["px_control_map"].update(ZERO, CONTROL.pack(*values, self.container))

    def close(self) -> None:
        """New connections go direct from now on."""
        self.open = False
        self._write(0)

    def listen(
        self,
        container: int,
        listeners: Sequence[tuple[socket.socket, socket.socket]],
        cpus: Sequence[int] | None = None,
    ) -> None:
        """Makes HAProxy's listeners, an IPv4 and an IPv6 one each, take connections to any port; new connections go to
        its container from the next beat on. `cpus`: those of the threads whose listeners they are."""
        if not listeners or len(listeners) > MOST_LISTENERS:
            raise Error(f"HAProxy has {len(listeners)} pairs of listeners; 1 to {MOST_LISTENERS} are possible.")
        if cpus:
            own = dict(zip(cpus, listeners, strict=False))
            listeners = [own.get(cpu, listeners[cpu % len(listeners)]) for cpu in range(max(cpus) + 1)]
        for n, pair in enumerate(listeners):
            for version, listener in enumerate(pair):
                key, value = struct.pack("=I", 2 * n + version), struct.pack("=Q", listener.fileno())
                self.doors[container].listeners.update(key, value)
        self.listeners, self.container = len(listeners), container

    def use(self, rules: Sequence[Rule], tables: Tables | None = None) -> None:
        """Puts a rule set in force, whole: each connection is judged by the old one or by this one.

        Args:
            rules: the set.
            tables: of these rules, where they were compiled before.
        """
        tables = tables or compile_rules(rules)
        half = (self.generation + 1) & 1
        classes = BpfMap("inner-array", "px_classes", 4, SET_BYTES, len(tables.sets))
        classes.update(indices(len(tables.sets)), tables.packed_sets)
        numbers = BpfMap("inner-array", "px_numbers", 4, 4, NUMBERS)
        numbers.update(indices(NUMBERS), tables.numbers)
        for side, chunks in enumerate(tables.ranges):
            ranges = BpfMap("inner-array", "px_ranges", 4, CHUNK_BYTES, len(chunks))
            ranges.update(indices(len(chunks)), b"".join(chunks))
            self.maps["px_ranges_map"].update(struct.pack("=I", half * 2 + side), struct.pack("=I", ranges.fd()))
        for name, made in (("px_classes_map", classes), ("px_numbers_map", numbers)):
            self.maps[name].update(struct.pack("=I", half), struct.pack("=I", made.fd()))
        cpus = len(self.maps["px_hits_map"].get(ZERO) or b"") // 8
        hits = struct.pack(f"={RULES + 1}I", *range(half * (RULES + 1), (half + 1) * (RULES + 1)))
        self.maps["px_hits_map"].update(hits, bytes(8 * cpus * (RULES + 1)))
        self.rules, self.generation = tuple(rules), self.generation + 1
        if self.open:
            self.beat()

    def hits(self) -> list[int]:
        """Connections per rule of the rules in force, and last those that met none."""
        start = (self.generation & 1) * (RULES + 1)
        return [
            sum_words(self.maps["px_hits_map"].get(struct.pack("=I", start + i)))
            for i in (*range(len(self.rules)), RULES)
        ]

    def counters(self) -> dict[str, int]:
        """What the programs have counted."""
        raw = self.maps["px_counters_map"].get(ZERO) or b""
        words = struct.unpack(f"={len(raw) // 8}Q", raw)
        return {name: sum(words[i :: len(COUNTERS)]) for i, name in enumerate(COUNTERS)}

    def flows(self) -> list[Flow]:
        """All flows."""
        keys, values = self.maps["px_flows_map"].dump()
        return [
            Flow.unpack(keys[i * KEY.size :][: KEY.size], values[i * FLOW.size :][: FLOW.size])
            for i in range(len(keys) // KEY.size)
        ]

    def count(self) -> int:
        """How many flows there are."""
        return len(self.maps["px_flows_map"].dump()[0]) // KEY.size

    def quiet(self, before_ns: int) -> list[bytes]:
        """The flows, packed keys, that were last heard of before a time of CLOCK_MONOTONIC (known to a second)."""
        keys, values = self.maps["px_flows_map"].dump()
        seen = memoryview(values).cast("Q")[SEEN_WORD :: FLOW.size // 8]
        return [keys[i * KEY.size :][: KEY.size] for i, ns in enumerate(seen) if ns < before_ns]

    def forget(self, keys: Sequence[bytes], before_ns: int) -> None:
        """Removes flows that are still as quiet; a connection may have begun anew meanwhile."""
        flows = self.maps["px_flows_map"]
        for key in keys:
            value = flows.get(key)
            if value and memoryview(value).cast("Q")[SEEN_WORD] < before_ns:
                flows.delete(key)


def maps_of_wire(access: int) -> dict[str, BpfMap]:
    """The maps of the wire on a port; raises a sentence if a living proxy uses them."""
    found = {name: BpfMap.of_wire(access, name) for name in WIRES}
    beat, timeout, *_, access_port, _core_port, _, _ = CONTROL.unpack(found["px_control_map"].get(ZERO) or b"")
    if access_port != access and time.monotonic_ns() - beat < timeout:
        raise Error("Another pair of the wire on these ports has a proxy already, and a wire has one: end that first.")
    return found


def maps_of_no_wire() -> dict[str, BpfMap]:
    """The same of no wire at all: for a trunk, and to try programs with."""
    ranges = BpfMap("inner-array", "px_ranges", 4, CHUNK_BYTES, 1)
    numbers = BpfMap("inner-array", "px_numbers", 4, 4, 1)
    classes = BpfMap("inner-array", "px_classes", 4, SET_BYTES, 1)
    return {
        "px_control_map": BpfMap("array", "px_control", 4, CONTROL.size, 1),
        "px_tables_map": BpfMap.of_maps("px_tables", 1, BpfMap("hash", "px_flows", KEY.size, FLOW.size, 1)),
        "px_ranges_map": BpfMap.of_maps("px_ranges", 4, ranges),
        "px_numbers_map": BpfMap.of_maps("px_numbers", 2, numbers),
        "px_classes_map": BpfMap.of_maps("px_classes", 2, classes),
        "sw_wire_map": BpfMap("array", "sw_wire", 4, 256, 1),
        "sw_subscribers_map": BpfMap("hash", "sw_subscribers", 24, 4, 1),
        "sw_foreign_map": BpfMap("array", "sw_foreign", 4, 16, 1),
    }


def sum_words(raw: bytes | None) -> int:
    """A per-CPU word's sum."""
    return sum(struct.unpack(f"={len(raw) // 8}Q", raw)) if raw else 0


def indices(count: int) -> bytes:
    """The keys of an array."""
    return struct.pack(f"={count}I", *range(count))
