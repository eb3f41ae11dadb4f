"""`smartwire export`: counters and alarms for other systems."""

from __future__ import annotations

import sys

import click

from smartwire.cli.address import Address
from smartwire.cli.page import command


@click.group("export", context_settings={"help_option_names": ["-h", "--help"]})
def export() -> None:
    """Give counters and alarms to Prometheus or SNMP.

    smartwired does this by itself as it is configured; these commands are for a wire that runs alone. Syslog and traps
    are options of smartwire counters collect.
    """


@command(
    "prometheus",
    examples=[
        ("smartwire export prometheus", "Serve http://127.0.0.1:9469/metrics until Ctrl-C"),
        ("smartwire export prometheus --listen [::]:9469", "For a Prometheus elsewhere (mind who can reach it)"),
        ("smartwire export prometheus --once > /var/lib/prometheus/node-exporter/smartwire.prom",
         "For node_exporter's text files"),
    ],
    exits={1: "the address cannot be listened on"},
    see=["counters show", "alarms"],
)  # fmt: skip
@click.option(
    "--listen", type=Address(9469), default="127.0.0.1:9469", show_default=True, help="Where to answer, over HTTP."
)
@click.option("--once", is_flag=True, help="Print the metrics once, and serve nothing.")
def prometheus(listen: tuple[str, int], once: bool) -> None:
    """Serve the counters of all wires, and the alarms, to Prometheus.

    Stays in the foreground until SIGINT (Ctrl-C) or SIGTERM. Counters are read at each scrape. `smartwire export file
    dashboard` prints a dashboard for Grafana.
    """
    import signal
    import threading

    from smartwire.north import prometheus as north

    if once:
        sys.stdout.write(north.exposition())
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server, thread = north.serve(*listen, north.exposition)
    host = f"[{listen[0]}]" if ":" in listen[0] else listen[0]
    click.echo(f"http://{host}:{listen[1]}/metrics; Ctrl-C stops")
    sys.stdout.flush()
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


@command(
    "snmp",
    examples=[
        ("smartwire export snmp --snmpd-conf", "What snmpd.conf needs"),
        ("snmpbulkwalk -v2c -c public localhost 1.3.6.1.4.1.32473.1", "Read everything, once snmpd has it"),
    ],
    see=["alarms", "counters collect"],
)
@click.option("--snmpd-conf", is_flag=True, help="Print the lines that snmpd.conf needs, and answer nothing.")
def snmp(snmpd_conf: bool) -> None:
    """Answer Debian's snmpd about wires, ports, reasons and alarms.

    snmpd starts this itself (pass_persist) and asks it on standard input; SNMP v2c and v3, users and access control are
    snmpd's. `smartwire export file mib` prints what the objects mean. Their enterprise number is a placeholder.
    """
    from smartwire import privileges
    from smartwire.alarms import journal
    from smartwire.north.snmp import Agent, snmpd_lines
    from smartwire.wire import registry

    if snmpd_conf:
        click.echo(snmpd_lines(f"{sys.executable} -m smartwire export snmp"), nl=False)
    else:
        # What it reads is to be within reach, too: stats pages, and the alarms.
        places = [registry.root(), journal.active_path().parent]
        there = [next(p for p in (place, *place.parents) if p.is_dir()) for place in places]
        privileges.drop([sys.executable, click.__file__, __file__, *(str(p / "any") for p in there)])
        Agent().answer(iter(sys.stdin.readline, ""), sys.stdout)


FILES = {
    "dashboard": "grafana/smartwire.json",
    "mib": "mibs/SMARTWIRE-MIB.txt",
    "unit": "systemd/smartwired.service",
}


@command(
    "file",
    examples=[
        ("smartwire export file unit > /etc/systemd/system/smartwired.service", "Start smartwired at boot"),
        ("smartwire export file mib > /usr/share/snmp/mibs/SMARTWIRE-MIB.txt", "So that snmpwalk knows the names"),
        ("smartwire export file dashboard > smartwire.json", "To be imported into Grafana"),
    ],
    see=["daemon", "export prometheus", "export snmp"],
)
@click.argument("which", type=click.Choice(list(FILES)))
def file(which: str) -> None:
    """Print a file that another system needs.

    dashboard is Grafana's, mib describes what SNMP and traps say, unit makes systemd start smartwired; it names the
    programs of this installation.
    """
    from importlib.resources import files

    text = (files("smartwire") / "share" / FILES[which]).read_text()
    if which == "unit":
        program = f"{sys.executable} -m smartwire"
        text = text.replace("ExecStartPre=-smartwire ", f"ExecStartPre=-{program} ")
        text = text.replace("ExecStart=smartwired", f"ExecStart={program} daemon")
    click.echo(text, nl=False)


export.add_command(file)
export.add_command(prometheus)
export.add_command(snmp)
