"""Placement: what three machines are told, from trees of files laid out as sysfs and /proc lay them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from smartwire.proxy.placement import Card, Machine, apply, cpu_mask, place, read_machine


class Tree:
    """Files of a machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.interrupts = ["            CPU0       CPU1"]

    def write(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text + "\n")

    def node(self, number: int, cpulist: str, siblings: dict[int, str]) -> None:
        self.write(f"sys/devices/system/node/node{number}/cpulist", cpulist)
        for cpu, threads in siblings.items():
            self.write(f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", threads)

    def card(self, name: str, queues: int, node: int, first: int, label: str, vf: bool = False) -> None:
        path = f"sys/class/net/{name}"
        for queue in range(queues):
            self.write(f"{path}/queues/rx-{queue}/rps_cpus", "0")
            self.write(f"{path}/queues/tx-{queue}/xps_cpus", "0")
            self.write(f"{path}/device/msi_irqs/{first + 1 + queue}", "msix")
            self.interrupts.append(f" {first + 1 + queue}:  0  0  PCI-MSI {label.format(queue)}")
        self.write(f"{path}/device/msi_irqs/{first}", "msix")  # for what is no packet
        self.interrupts.append(f" {first}:  0  0  PCI-MSI {name}-async")
        self.write(f"{path}/device/numa_node", str(node))
        if vf:
            self.write(f"{path}/device/physfn/vendor", "0x8086")

    def read(self, *ports: str) -> Machine:
        self.write("proc/interrupts", "\n".join(self.interrupts))
        return read_machine(ports, self.root)


def files(placement, part: str) -> dict[str, str]:
    return {s.file: s.value for s in placement.settings if s.file and part in s.file}


def commands(placement) -> list[str]:
    return [" ".join(s.command) for s in placement.settings if s.command]


def test_two_nodes_with_28_queues_use_the_cards_node_alone(tmp_path):
    tree = Tree(tmp_path)
    for node in (0, 1):
        cores = range(node * 28, node * 28 + 28)
        siblings = {cpu: f"{cpu % 56},{cpu % 56 + 56}" for core in cores for cpu in (core, core + 56)}
        tree.node(node, f"{cores[0]}-{cores[-1]},{cores[0] + 56}-{cores[-1] + 56}", siblings)
    tree.card("eth1", 28, 1, 100, "eth1-TxRx-{}")
    tree.card("eth2", 28, 1, 200, "mlx5_comp{}@pci:0000:af:00.0")
    placement = place(tree.read("eth1", "eth2"), "eth1", "eth2")
    assert placement.cpus == tuple(range(28, 56))
    assert placement.missing == []
    affinity = files(placement, "smp_affinity_list")
    assert len(affinity) == 56
    # Queue n of either port is on the same CPU.
    for queue, cpu in enumerate(placement.cpus):
        assert affinity[f"/proc/irq/{101 + queue}/smp_affinity_list"] == str(cpu)
        assert affinity[f"/proc/irq/{201 + queue}/smp_affinity_list"] == str(cpu)
    xps = files(placement, "xps_cpus")
    assert xps["/sys/class/net/eth2/queues/tx-27/xps_cpus"] == "00800000,00000000"
    assert set(files(placement, "rps_cpus").values()) == {"0"}
    hashing = commands(placement)
    assert [c.split()[:3] for c in hashing] == [["ethtool", "-X", "eth1"], ["ethtool", "-X", "eth2"]]
    assert len({c.split()[4] for c in hashing}) == 1  # one key for both


def test_ports_at_different_nodes_are_said_and_the_access_ports_node_is_taken(tmp_path):
    tree = Tree(tmp_path)
    tree.node(0, "0-1", {0: "0", 1: "1"})
    tree.node(1, "2-3", {2: "2", 3: "3"})
    tree.card("eth1", 2, 1, 10, "eth1-TxRx-{}")
    tree.card("eth2", 2, 0, 20, "eth2-TxRx-{}")
    placement = place(tree.read("eth1", "eth2"), "eth1", "eth2")
    assert placement.cpus == (2, 3)
    assert ["different NUMA nodes" in text for text in placement.missing] == [True]


def test_one_queue_is_spread_by_the_kernel(tmp_path):
    tree = Tree(tmp_path)
    tree.node(0, "0-3", {cpu: str(cpu) for cpu in range(4)})
    tree.card("ens1", 1, -1, 30, "virtio1-input.{}")
    tree.card("ens2", 1, -1, 40, "virtio2-input.{}")
    placement = place(tree.read("ens1", "ens2"), "ens1", "ens2")
    assert placement.cpus == (0, 1, 2, 3)
    assert files(placement, "rps_cpus") == {f"/sys/class/net/{p}/queues/rx-0/rps_cpus": "f" for p in ("ens1", "ens2")}
    assert not files(placement, "smp_affinity_list")
    assert not commands(placement)
    assert sum("one receive queue" in text for text in placement.missing) == 2


def test_virtual_functions_with_8_queues_use_8_of_16_cpus(tmp_path):
    tree = Tree(tmp_path)
    tree.node(0, "0-15", {cpu: str(cpu) for cpu in range(16)})
    tree.card("ens1v0", 8, 0, 50, "iavf-ens1v0-TxRx-{}", vf=True)
    tree.card("ens2v0", 8, 0, 70, "iavf-ens2v0-TxRx-{}", vf=True)
    placement = place(tree.read("ens1v0", "ens2v0"), "ens1v0", "ens2v0")
    assert placement.cpus == tuple(range(8))
    assert len(files(placement, "smp_affinity_list")) == 16
    assert sum("virtual function" in text for text in placement.missing) == 2


def test_more_queues_than_cpus_are_reduced_and_a_trunk_is_one_port(tmp_path):
    tree = Tree(tmp_path)
    tree.node(0, "0-1", {0: "0", 1: "1"})
    tree.card("eth1", 8, 0, 50, "eth1-TxRx-{}")
    placement = place(tree.read("eth1"), "eth1", "eth1")
    assert "ethtool -L eth1 combined 2" in commands(placement)
    assert len(files(placement, "smp_affinity_list")) == 2


def test_interrupts_that_cannot_be_told_apart_are_left(tmp_path):
    machine = Machine({0: (0, 1)}, {"x": Card("x", 0, 2, 2), "y": Card("y", 0, 2, 2)})
    placement = place(machine, "x", "y")
    assert not files(placement, "smp_affinity_list")
    assert sum("which interrupt" in text for text in placement.missing) == 2


@pytest.mark.parametrize(
    ("cpus", "mask"), [((0,), "1"), ((0, 1, 2, 3), "f"), ((31,), "80000000"), ((32,), "00000001,00000000")]
)
def test_masks_are_written_as_the_kernel_writes_them(cpus, mask):
    assert cpu_mask(cpus) == mask


def test_what_is_applied_stands_in_the_machines_files_and_what_is_refused_is_said(tmp_path, monkeypatch):
    tree = Tree(tmp_path / "machine")
    tree.node(0, "0-1", {0: "0", 1: "1"})
    tree.card("eth1", 2, 0, 10, "eth1-TxRx-{}")
    tree.card("eth2", 2, 0, 20, "eth2-TxRx-{}")
    for number in (11, 12, 21):  # and none for 22
        tree.write(f"proc/irq/{number}/smp_affinity_list", "0-1")
    tool = tmp_path / "bin" / "ethtool"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n[ "$2" = eth1 ] || {{ echo not eth2 >&2; exit 1; }}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    placement = place(tree.read("eth1", "eth2"), "eth1", "eth2")
    refused = apply(placement, tree.root)
    found = {f: (tree.root / f.lstrip("/")).read_text().strip() for f in files(placement, "") if "/22/" not in f}
    assert found == {f: value for f, value in files(placement, "").items() if "/22/" not in f}
    assert (tmp_path / "said").read_text().splitlines() == [c.removeprefix("ethtool ") for c in commands(placement)]
    assert len(refused) == 2
    assert refused[0].endswith("not eth2")
    assert "/proc/irq/22/smp_affinity_list" in refused[1]
    assert refused[1].endswith("there is no such file here")


@pytest.mark.root
def test_the_kernel_takes_what_is_applied_to_ports_of_a_namespace(lab):
    told = lab.smartwire("proxy", "placement", "access", "core", "--apply", "--json")
    document = json.loads(told.stdout)
    wanted = [s["setting"].split()[1::2] for s in document["settings"] if s["setting"].startswith("echo ")]
    assert wanted
    for value, file in wanted:
        if not any(file in sentence for sentence in document["refused"]):
            now = lab.run("box", "cat", file).strip()
            assert int(now.replace(",", ""), 16) == int(value.replace(",", ""), 16)
    assert told.returncode == (1 if document["refused"] else 0)
