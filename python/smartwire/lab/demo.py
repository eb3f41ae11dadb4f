"""`smartwire demo`: real downloads over an emulated radio link, with and without, in two minutes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from smartwire.cli.output import emit, table
from smartwire.cli.page import command
from smartwire.errors import Error
from smartwire.lab.capture import Capture, beside_wire, capture
from smartwire.lab.figures import goodput_mbps, median, quantile
from smartwire.lab.links import Radio, describe, link
from smartwire.lab.middle import Bridge, Middle, Wire
from smartwire.lab.net import sweep
from smartwire.lab.progress import Story
from smartwire.lab.radiolog import DOWN
from smartwire.lab.session import CUSTODY_BOUND, Outcome, Session

WITHOUT, WITH = "without", "with"
TITLES = {WITHOUT: "not optimized", WITH: "with Smartwire"}
DOWNLOADS = ((0.1, 100_000), (1.0, 1_000_000), (2.8, 100_000), (3.7, 1_000_000), (5.5, 10_000_000))
"""Start in seconds and size in bytes: the same moments of the link in each run."""
DOWNLOADS_S, BULK_S, IDLE_S = 11.0, 12.0, 1.5
"""Length of the two kinds of run, and how long the echo probe runs before the bulk downloads begin, seconds."""
FLOWS = 2
PROBE_S = 0.02


@dataclass
class Round:
    """Both kinds of run in both modes, over one IP version."""

    version: int
    downloads: dict[str, Outcome] = field(default_factory=dict)
    bulk: dict[str, Outcome] = field(default_factory=dict)

    def outcomes(self, mode: str) -> list[Outcome]:
        """What came of a mode's runs."""
        return [runs[mode] for runs in (self.downloads, self.bulk) if mode in runs]


@dataclass
class Demo:
    """What a whole demo measured.

    Attributes:
        radio: the link.
        rounds: one per IP version.
        captures: of the first round's downloads, on both sides of the middle, by mode.
        seconds: that it took.
        command: how to do it again.
    """

    radio: Radio
    rounds: list[Round] = field(default_factory=list)
    captures: dict[str, Capture] = field(default_factory=dict)
    seconds: float = 0.0
    command: str = "smartwire demo"

    def times(self, mode: str, size: int) -> list[float]:
        """Seconds from asking for a connection to the last byte, of every download of a size."""
        found = [t for r in self.rounds for t in r.downloads[mode].transfers if t["size"] == size and t["intact"]]
        return [t["finished"] - t["started"] for t in found]

    def rtts_ms(self, mode: str, loaded: bool = True) -> list[float]:
        """Echo round trips while the bulk downloads run, or before; a lost probe counts as endless."""
        pairs = [p for r in self.rounds for p in r.bulk[mode].probe]
        start = IDLE_S + 1.0
        return [(rtt * 1e3 if rtt is not None else float("inf")) for at, rtt in pairs
                if (start <= at if loaded else at < IDLE_S - 0.2)]  # fmt: skip

    def goodput_mbps(self, mode: str) -> float:
        """Of both bulk downloads together, mean over the rounds."""
        rates = [goodput_mbps(r.bulk[mode].transfers, IDLE_S + 1.0, BULK_S) for r in self.rounds]
        return sum(rates) / len(rates)

    def again(self, mode: str) -> tuple[int, int]:
        """Payload bytes that crossed the radio downwards, and of these the ones that had crossed before."""
        legs = [o.log.leg(DOWN, BULK_S) for r in self.rounds for o in r.outcomes(mode) if o.log]
        return sum(leg.payload for leg in legs), sum(leg.again for leg in legs)

    def retransmitted(self, mode: str) -> int:
        """Segments sent again, by whoever."""
        return sum(o.retransmitted_segments for r in self.rounds for o in r.outcomes(mode))

    def checked(self, mode: str) -> int:
        """Payload bytes that arrived and were compared."""
        return sum(o.payload for r in self.rounds for o in r.outcomes(mode))

    def intact(self, mode: str) -> bool:
        """Whether every byte of every transfer was right."""
        return all(o.intact for r in self.rounds for o in r.outcomes(mode))

    def custody_share(self) -> float | None:
        """The lowest of all runs' with the wire; None where none counts it."""
        shares = [o.custody_share for r in self.rounds for o in r.outcomes(WITH)]
        return min((s for s in shares if s is not None), default=None)

    def faults(self) -> list[str]:
        """Why the demo proves nothing; empty if it does."""
        found = [f"{TITLES[m]}, IPv{r.version}: {o.broken}"
                 for r in self.rounds for m in TITLES for o in r.outcomes(m) if not o.intact]  # fmt: skip
        share = self.custody_share()
        if share is not None and share < CUSTODY_BOUND:
            found.append(f"only {share:.1%} of the TCP payload was under custody in one run: "
                         f"at least {CUSTODY_BOUND:.0%} is needed")  # fmt: skip
        return found


def downloads_plan(session: Session, version: int) -> dict:
    """Downloads of several sizes, one after the other."""
    who = session.phone(version)
    return {"transfers": [{"kind": "get", "size": size, "start": start, "label": f"{size}@{start}", "seed": i, **who}
                          for i, (start, size) in enumerate(DOWNLOADS)]}  # fmt: skip


def bulk_plan(session: Session, version: int) -> dict:
    """Two downloads without end, and an echo probe that does not wait for answers."""
    who = session.phone(version)
    bulk = [{"kind": "get", "size": 0, "start": IDLE_S, "stop": BULK_S, "label": f"bulk{i}", "seed": i, **who}
            for i in range(FLOWS)]  # fmt: skip
    probe = {"start": 0.1, "stop": BULK_S, "interval": PROBE_S, "linger": 1.5, **who}
    return {"transfers": bulk, "probes": [probe]}


def measure(radio: Radio, middles: dict[str, Callable[[], Middle]], story: Story,
            versions: tuple[int, ...] = (4, 6)) -> Demo:  # fmt: skip
    """Runs everything, the modes alternating."""
    demo, began = Demo(radio), time.monotonic()
    with contextlib.ExitStack() as stack:
        sessions = {mode: stack.enter_context(Session(mode, radio, middles[mode]())) for mode in TITLES}
        for number, version in enumerate(versions):
            this = Round(version)
            demo.rounds.append(this)
            order = list(TITLES) if number % 2 == 0 else list(reversed(TITLES))
            for mode in order:
                _downloads(demo, this, mode, sessions[mode], story, keep=number == 0)
            for mode in order:
                session = sessions[mode]
                story.step(f"IPv{version} {TITLES[mode]}, endless", BULK_S + 2)
                this.bulk[mode] = o = session.run(bulk_plan(session, version), BULK_S, on_tick=story.tick)
                rtts = [rtt * 1e3 for at, rtt in o.probe if rtt is not None and at >= IDLE_S + 1]
                rate = goodput_mbps(o.transfers, IDLE_S + 1, BULK_S)
                story.say(f"  IPv{version}  {TITLES[mode]:<15} {rate:.1f} Mbit/s, echo RTT p50 {median(rtts):,.0f} ms, "
                          f"p95 {quantile(rtts, 0.95):,.0f} ms")  # fmt: skip
    demo.seconds = time.monotonic() - began
    return demo


def _downloads(demo: Demo, this: Round, mode: str, session: Session, story: Story, keep: bool) -> None:
    """The downloads of one mode in one round; ``keep``: with captures."""
    story.step(f"IPv{this.version} {TITLES[mode]}, sizes", DOWNLOADS_S + 1)
    with contextlib.ExitStack() as stack:
        if keep:
            demo.captures[mode] = stack.enter_context(capture(session.lab, beside_wire(session.lab)))
        this.downloads[mode] = o = session.run(downloads_plan(session, this.version), DOWNLOADS_S, on_tick=story.tick)
    ended = [t for t in o.transfers if t["finished"]]
    times = ", ".join(f"{size_text(t['size'])} {t['finished'] - t['started']:.2f} s" for t in ended)
    story.say(f"  IPv{this.version}  {TITLES[mode]:<15} {times}")


def size_text(size: int) -> str:
    """A round size as people write it."""
    return f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size // 1000} kB"


def rows(demo: Demo) -> list[tuple[str, str, str, str]]:
    """The table: what, without, with, what that means."""
    out = []
    for size in sorted({size for _, size in DOWNLOADS}):
        a, b = (median(demo.times(mode, size)) for mode in TITLES)
        out.append((f"{size_text(size)} download, median", f"{a:.2f} s", f"{b:.2f} s", change(a, b)))
    a, b = (demo.goodput_mbps(mode) for mode in TITLES)
    out.append((f"goodput of {FLOWS} endless downloads", f"{a:.1f} Mbit/s", f"{b:.1f} Mbit/s", more(a, b)))
    idle = median([*demo.rtts_ms(WITHOUT, loaded=False), *demo.rtts_ms(WITH, loaded=False)])
    for q, name in ((0.5, "median"), (0.95, "p95")):
        a, b = (quantile(demo.rtts_ms(mode), q) for mode in TITLES)
        ratio = f"{a / b:.1f} times shorter" if a > b else f"{b / a:.1f} times longer"
        out.append((f"echo RTT meanwhile, {name}", f"{a:,.0f} ms", f"{b:,.0f} ms", ratio))
    out.append(("echo RTT when idle", f"{idle:,.0f} ms", f"{idle:,.0f} ms", ""))
    shares = [again / max(1, payload) for payload, again in (demo.again(mode) for mode in TITLES)]
    out.append(("bytes that crossed the radio twice", *(f"{s:.2%}" for s in shares), ""))
    out.append(("segments sent again, by anyone", *(f"{demo.retransmitted(mode):,}" for mode in TITLES), ""))
    right = ["every byte right" if demo.intact(m) else "BROKEN" for m in TITLES]
    amounts = " and ".join(f"{demo.checked(m) / 1e6:.0f}" for m in TITLES)
    out.append(("integrity", *right, f"{amounts} MB compared"))
    share = demo.custody_share()
    out.append(("TCP payload under custody", "-", "-" if share is None else f"{share:.1%}", "at least 95% needed"))
    return out


def more(before: float, after: float) -> str:
    """How much a rate has grown."""
    grown = after / before - 1 if before else 0.0
    return f"{grown:+.0%}" if abs(grown) >= 0.005 else "the same"


def change(before: float, after: float) -> str:
    """How much shorter a time has become."""
    gain = 1 - after / before
    return f"{gain:.0%} faster" if gain > 0.005 else f"{-gain:.0%} slower" if gain < -0.005 else "the same"


def document(demo: Demo) -> dict:
    """Everything as one JSON document, units in the keys."""
    modes = {}
    for mode in TITLES:
        payload, again = demo.again(mode)
        rtts = demo.rtts_ms(mode)
        modes[mode] = {
            "download_s": {str(size): demo.times(mode, size) for size in sorted({s for _, s in DOWNLOADS})},
            "goodput_mbps": round(demo.goodput_mbps(mode), 3),
            "echo_rtt_ms": {f"p{q}": round(quantile(rtts, q / 100), 2) for q in (50, 95, 99)},
            "radio_payload_bytes": payload,
            "radio_again_bytes": again,
            "retransmitted_segments": demo.retransmitted(mode),
            "checked_bytes": demo.checked(mode),
            "intact": demo.intact(mode),
        }
    idle = median([*demo.rtts_ms(WITHOUT, loaded=False), *demo.rtts_ms(WITH, loaded=False)])
    return {"link": demo.radio.name, "ip_versions": [r.version for r in demo.rounds], "idle_rtt_ms": round(idle, 2),
            "modes": modes, "custody_share": demo.custody_share(), "faults": demo.faults(),
            "seconds": round(demo.seconds, 1)}  # fmt: skip


@command(
    "demo",
    examples=[
        ("smartwire demo", "A stationary LTE link"),
        ("smartwire demo --link lte-driving --report car.html", "A car, and where to put the report"),
        ("smartwire demo --link 20mbit --json", "A constant 20 Mbit/s; figures for a program"),
        ("smartwire demo --appliance", "The whole box in a browser over live traffic, until Ctrl-C"),
    ],
    exits={1: "it could not run, or a byte was wrong, or the wire held too little of the traffic to prove anything"},
    see=["lab", "run"],
)
@click.option("--link", "link_text", default="lte-still", show_default=True,
              help="A link: see `smartwire lab list`.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default="smartwire-demo.html",
              show_default=True, help="Where to write the HTML report.")
@click.option("--seed", default=1, show_default=True, help="Another instance of the same kind of link.")
@click.option("--appliance", is_flag=True, help="Instead: the whole box with its web pages, until Ctrl-C.")
@click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True, help="Of the web pages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
def demo(link_text: str, report: Path, seed: int, appliance: bool, port: int, as_json: bool) -> int:
    """See real downloads over an emulated radio link, with and without.

    Builds a phone, a radio, a wire, an internet and a server in network namespaces, with the kernel's own TCP at both
    ends, and downloads the same things over the same link in turn with a plain bridge and with Smartwire in the
    middle, over IPv4 and IPv6. Takes less than two minutes. Every byte is checked.

    At the end it prints a table and writes a report, one HTML file.

    With --appliance it runs smartwired with a configured wire in that lab, keeps phones busy, and prints where its web
    pages are and a password made for this run.
    """
    from smartwire.lab.demo_report import html

    if appliance:
        from smartwire.lab import appliance as box

        sweep()
        box.show(link(link_text, seed), port, as_json)
        return 0
    if not report.absolute().parent.is_dir():
        raise Error(f"The report cannot be written: there is no directory {report.absolute().parent}.")
    radio = link(link_text, seed)
    sweep()
    seconds = 2 * 2 * (DOWNLOADS_S + BULK_S + 3)
    with Story("building the lab", seconds, quiet=as_json) as story:
        story.say(f"{describe(radio)}; both modes in turn, about {seconds + 10:.0f} s")
        done = measure(radio, {WITHOUT: Bridge, WITH: Wire}, story)
    done.command = f"smartwire demo --link {link_text} --seed {seed}"
    report.write_text(html(done))
    if as_json:
        emit(document(done) | {"report": str(report)})
    else:
        click.echo()
        table(("", *(t.upper() for t in TITLES.values()), ""), rows(done), right=(1, 2))
        click.echo(f"\nThe report, with plots: {report.absolute()}")
    if faults := done.faults():
        raise Error(f"The demo proves nothing: {faults[0]}.")
    return 0
