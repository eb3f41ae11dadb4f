"""docs/measurements.md out of the documents that ``smartwire lab run --save DIR`` wrote.

``python -m smartwire.lab.measure.book DIR > docs/measurements.md``. What was measured stands there as it came out, the
bounds that were missed included.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from smartwire.errors import Error
from smartwire.lab.scenarios import SCENARIOS
from smartwire.lab.trial import number, show

HEAD = """# Measurements

Every figure here comes out of one command, which anybody can repeat as root: the lab builds a phone, a radio, the wire,
an internet and a server in network namespaces of one machine, with the kernel's own TCP at both ends; what is compared
runs in turn, over the same seconds of the same emulated link. Base round trip 80 ms (radio 50, internet 30), 2 MB of
queue per subscriber, servers on CUBIC, unless a section says otherwise. Every byte is compared, and a run with less
than 95% of its TCP payload under custody counts as failed.

    smartwire lab run all --save results
    smartwire bench engine --json > results/engine.json
    python -m smartwire.lab.measure.book results > docs/measurements.md
"""


def section(document: dict) -> str:
    """One scenario."""
    name = document["scenario"]
    versions = " and ".join(f"IPv{v}" for v in document["ip_versions"])
    ran = f"{versions}, kernel {document['kernel']}, {document['cpus']} CPUs, {document['seconds']:.0f} s."
    out = [f"## {name}", "", f"{SCENARIOS[name].text}.", "", f"    smartwire lab run {name}", "", ran]
    if document["quick"]:
        out.append("**Run with --quick: these figures show that it works, and measure nothing.**")
    shapes: dict[tuple, list[dict]] = {}
    for row in document["figures"]:
        plain = {k: v for k, v in row.items() if not isinstance(v, list | dict)}
        shapes.setdefault(tuple(plain), []).append(plain)
    for columns, rows in shapes.items():
        out += ["", line([c.replace("_", " ") for c in columns]), line(["---"] * len(columns))]
        out += [line([show(row[c]) for c in columns]) for row in rows]
    if document["verdicts"]:
        out += ["", line(["bound", "figure", "limit", ""]), line(["---"] * 4)]
        out += [line([v["what"], number(v["value"]), f"{v['sense']} {number(v['limit'])}",
                      "holds" if v["passed"] else "**missed**"]) for v in document["verdicts"]]  # fmt: skip
    out += [f"\n**Proves nothing:** {fault}." for fault in document["faults"]]
    return "\n".join(out) + "\n"


def engine_section(document: dict) -> str:
    """What `smartwire bench engine` found: the engine alone, RX to TX without I/O, on one core."""
    classes = document["ns_per_packet_by_class"]
    bounds = [("ns per packet", document["ns_per_packet"], 250), ("bytes per flow", document["bytes_per_flow"], 256)]
    out = ["## engine", "", f"{document['flows']:,} connections resident, {document['packets']:,} packets.", "",
           f"    smartwire bench engine --flows {document['flows']}", "",
           line(["ns per packet", *(name.replace("_", " ") for name in classes)]),
           line(["---"] * (1 + len(classes))),
           line([show(document["ns_per_packet"]), *map(show, classes.values())]), "",
           line(["bound", "figure", "limit", ""]), line(["---"] * 4)]  # fmt: skip
    out += [line([what, number(value), f"at most {limit}", "holds" if value <= limit else "**missed**"])
            for what, value, limit in bounds]  # fmt: skip
    return "\n".join(out) + "\n"


def line(cells: list[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def book(folder: Path) -> str:
    """The whole page, scenarios in the order of `smartwire lab list`.

    Raises:
        Error: there is nothing to write about.
    """
    documents = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    order = list(SCENARIOS)
    found = sorted((d for d in documents if d.get("scenario") in SCENARIOS), key=lambda d: order.index(d["scenario"]))
    if not found:
        raise Error(f"There are no results in {folder}: `smartwire lab run all --save {folder}` makes them.")
    verdicts = [v for d in found for v in d["verdicts"]]
    held = sum(v["passed"] for v in verdicts)
    total = f"{held} of {len(verdicts)} bounds hold; {sum(len(d['faults']) for d in found)} runs prove nothing."
    engine = folder / "engine.json"
    more = [engine_section(json.loads(engine.read_text()))] if engine.exists() else []
    return "\n".join([HEAD, total, "", *map(section, found), *more])


if __name__ == "__main__":
    try:
        sys.stdout.write(book(Path(sys.argv[1] if len(sys.argv) > 1 else "results")))
    except Error as problem:
        sys.exit(str(problem))
