"""Which CPU does what: from a description of a machine to the settings of its queues, a pure function.

The aim is that both sides of a connection, and the thread of HAProxy that has it, are on one CPU, near the cards'
memory: queue n of either port interrupts CPU n of the cards' node, connections are hashed to queues so that both
directions have the same one, and HAProxy has a thread on each of these CPUs, to which the SYN's CPU leads
(bpf/proxy_pick.bpf.c). Where a card has one queue, the kernel spreads packets in its stead (RPS), with the same hash in
both directions (``__flow_hash_consistentify``).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SYMMETRIC_KEY = ":".join(["6d:5a"] * 20)
"""A Toeplitz key of period 16 gives both directions of a connection the same hash (S. Woo and K. Park, "Scalable TCP
Session Monitoring with Symmetric Receive-side Scaling", 2012)."""
QUEUE_NAME = re.compile(r"(?:tx-?rx|rx|comp|queue|input|q)[-.]?(\d+)", re.IGNORECASE)
"""In /proc/interrupts: eth1-TxRx-3, mlx5_comp3@pci:..., virtio1-input.0."""


@dataclass(frozen=True)
class Card:
    """A port as the machine describes it.

    Attributes:
        name: of the interface.
        node: NUMA node; None where the machine does not say.
        receive, transmit: numbers of queues.
        interrupts: by queue; empty where it can't be told which is whose.
        virtual_function: it is one of a card's virtual functions (SR-IOV).
        device: it has hardware at all.
    """

    name: str
    node: int | None
    receive: int
    transmit: int
    interrupts: tuple[int, ...] = ()
    virtual_function: bool = False
    device: bool = True


@dataclass(frozen=True)
class Machine:
    """CPUs by NUMA node, one of each core (the other hyperthreads left out), and ports."""

    nodes: dict[int, tuple[int, ...]]
    cards: dict[str, Card]


@dataclass(frozen=True)
class Setting:
    """A file to write, or a command to run, and why."""

    why: str
    file: str | None = None
    value: str | None = None
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(self.command) if self.command else f"echo {self.value} > {self.file}"


@dataclass(frozen=True)
class Placement:
    """What to set, in order; what the machine has not; the CPUs of HAProxy's threads."""

    cpus: tuple[int, ...]
    settings: list[Setting] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def place(machine: Machine, access: str, core: str) -> Placement:
    """The settings for two ports, which may be one."""
    cards = [machine.cards[name] for name in dict.fromkeys((access, core))]
    missing: list[str] = []
    node = node_of(machine, cards, missing)
    all_cpus = machine.nodes[node]
    hardware = min(min(card.receive, card.transmit) for card in cards)
    count = min(hardware, len(all_cpus)) if hardware > 1 else len(all_cpus)
    placement = Placement(all_cpus[:count], missing=missing)
    for card in cards:
        if hardware > 1:
            by_queues(card, placement)
        else:
            by_software(card, placement)
        by_transmission(card, placement)
    if len(placement.cpus) == 1:
        missing.append(f"node {node} has one CPU: nothing is to be spread")
    return placement


def node_of(machine: Machine, cards: Sequence[Card], missing: list[str]) -> int:
    """The NUMA node whose CPUs do the work: the access port's."""
    if len(machine.nodes) == 1:
        missing.append("the machine has one NUMA node: nothing to bind to")
    nodes = [card.node for card in cards if card.node is not None and card.node in machine.nodes]
    if len(machine.nodes) > 1 and len(nodes) < len(cards):
        missing.append("a port does not say which NUMA node it is at: the first one is taken")
    if len(set(nodes)) > 1:
        where = ", ".join(f"{c.name} at node {c.node}" for c in cards)
        missing.append(f"the ports are at different NUMA nodes ({where}): put the cards into slots of one node")
    return nodes[0] if nodes else min(machine.nodes)


def by_queues(card: Card, placement: Placement) -> None:
    """A queue for each CPU, chosen by a hash that is the same in both directions."""
    count = len(placement.cpus)
    if max(card.receive, card.transmit) != count:
        command = ("ethtool", "-L", card.name, "combined", str(count))
        placement.settings.append(Setting("as many queues as CPUs", command=command))
    command = ("ethtool", "-X", card.name, "hkey", SYMMETRIC_KEY, "equal", str(count))
    placement.settings.append(Setting("both directions of a connection to the same queue", command=command))
    if card.virtual_function:
        placement.missing.append(
            f"{card.name} is a virtual function: many take the hash key of their physical function; if ethtool -X is "
            "refused, set it there"
        )
    if len(card.interrupts) < count:
        placement.missing.append(f"{card.name} does not say which interrupt is which queue's: they stay where they are")
        return
    for queue, cpu in enumerate(placement.cpus):
        file = f"/proc/irq/{card.interrupts[queue]}/smp_affinity_list"
        placement.settings.append(Setting(f"queue {queue} of {card.name} on CPU {cpu}", file, str(cpu)))
        placement.settings.append(
            Setting("not spread a second time", f"/sys/class/net/{card.name}/queues/rx-{queue}/rps_cpus", "0")
        )


def by_software(card: Card, placement: Placement) -> None:
    """One queue: the kernel spreads what comes in over the CPUs."""
    if len(placement.cpus) == 1:
        return
    what = "has one receive queue" if card.device else "is no hardware"
    placement.missing.append(f"{card.name} {what}: the kernel spreads its packets over CPUs (RPS)")
    mask = cpu_mask(placement.cpus)
    for queue in range(card.receive):
        file = f"/sys/class/net/{card.name}/queues/rx-{queue}/rps_cpus"
        placement.settings.append(Setting("packets of a connection on one CPU", file, mask))


def by_transmission(card: Card, placement: Placement) -> None:
    """Each CPU sends by a queue of its own."""
    if card.transmit < 2:
        return
    for queue, cpu in enumerate(placement.cpus[: card.transmit]):
        file = f"/sys/class/net/{card.name}/queues/tx-{queue}/xps_cpus"
        placement.settings.append(Setting(f"CPU {cpu} sends by queue {queue}", file, cpu_mask((cpu,))))


def cpu_mask(cpus: Sequence[int]) -> str:
    """CPUs as the kernel's files have them: hexadecimal, in groups of 32."""
    digits = f"{sum(1 << cpu for cpu in cpus):x}"
    digits = digits.zfill(-(-len(digits) // 8) * 8) if len(digits) > 8 else digits
    return ",".join(digits[i : i + 8] for i in range(0, len(digits), 8))


def apply(placement: Placement, root: Path = Path("/")) -> list[str]:
    """Sets what can be set; returns sentences about what was refused."""
    refused = []
    for setting in placement.settings:
        try:
            if setting.command:
                subprocess.run(setting.command, check=True, capture_output=True, text=True)
            else:
                # Only what is there: a machine's file is never made.
                there = os.open(root / str(setting.file).lstrip("/"), os.O_WRONLY | os.O_TRUNC)
                with os.fdopen(there, "w") as file:
                    file.write(f"{setting.value}\n")
        except FileNotFoundError:
            refused.append(f"`{setting}`: there is no {setting.command[0] if setting.command else 'such file'} here")
        except subprocess.CalledProcessError as e:
            refused.append(f"`{setting}`: {(e.stderr.strip().splitlines() or ['it failed'])[-1]}")
        except OSError as e:
            refused.append(f"`{setting}`: {e.strerror}")
    return refused


# ---- reading a machine ----


def read_machine(ports: Sequence[str], root: Path = Path("/")) -> Machine:
    """What the files of a machine say about its CPUs and some of its ports."""
    nodes = {}
    for path in sorted((root / "sys/devices/system/node").glob("node[0-9]*")):
        if cpus := first_threads(root, numbers((path / "cpulist").read_text())):
            nodes[int(path.name.removeprefix("node"))] = cpus
    if not nodes:
        nodes[0] = first_threads(root, numbers((root / "sys/devices/system/cpu/online").read_text()))
    return Machine(nodes, {name: read_card(root, name) for name in ports})


def read_card(root: Path, name: str) -> Card:
    """One port."""
    path = root / "sys/class/net" / name
    device = path / "device"
    node = None
    with contextlib.suppress(OSError, ValueError):
        found = int((device / "numa_node").read_text())
        node = found if found >= 0 else None
    return Card(
        name,
        node,
        receive=len(list((path / "queues").glob("rx-*"))),
        transmit=len(list((path / "queues").glob("tx-*"))),
        interrupts=interrupts(root, device, name),
        virtual_function=(device / "physfn").exists(),
        device=device.exists(),
    )


def interrupts(root: Path, device: Path, name: str) -> tuple[int, ...]:
    """The interrupts of a port's receive queues, in their order."""
    own = {p.name for p in (device / "msi_irqs").glob("*")}
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for line in (root / "proc/interrupts").read_text().splitlines()[1:]:
            number, _, rest = line.strip().partition(":")
            last = rest.split()[-1] if rest.split() else ""
            queue = QUEUE_NAME.search(last.removeprefix(name))
            if queue and (number in own or last.startswith(f"{name}-")):
                found.setdefault(int(queue[1]), int(number))
    return tuple(found[n] for n in range(len(found)) if n in found)


def first_threads(root: Path, cpus: Sequence[int]) -> tuple[int, ...]:
    """The first hyperthread of each core."""
    found = []
    for cpu in cpus:
        try:
            siblings = (root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            siblings = str(cpu)
        if cpu == min(numbers(siblings)):
            found.append(cpu)
    return tuple(found)


def numbers(text: str) -> list[int]:
    """The kernel's lists: 0-3,8,10-11."""
    found: list[int] = []
    for part in text.strip().split(","):
        low, _, high = part.partition("-")
        if low:
            found += range(int(low), int(high or low) + 1)
    return found
