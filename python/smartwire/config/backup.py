"""Operational commands for backup and restore: the running configuration, secrets included, with its prefix lists."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

from smartwire.config import text
from smartwire.config.commands import Answer, FileName, command
from smartwire.config.load import read
from smartwire.config.reports import write_archive
from smartwire.errors import Error, NotThere, UsageError

TOP = "smartwire-support"
CONFIGURATION = "configuration.conf"
LISTS = "prefix-lists/"
LARGEST = 64 << 20
"""Bytes of a part of an archive that are read."""


@command("request system configuration backup", permission="everything")
def backup(session: Any) -> Answer:
    """Write the running configuration, with secrets and prefix lists, to an archive that only root can read."""
    engine = session.engine
    parts = {CONFIGURATION: text.show(engine.running.config, mask=False)}
    for name, snapshot in engine.setup.lists.items():
        file = engine.setup.config.get(("prefix-lists", name, "file"))
        parts[f"{LISTS}{file}"] = snapshot.content.decode("utf-8", "surrogateescape")
    target = engine.store.directory / f"backup-{engine.running.about.number}-{int(engine.clock.time())}.tar.gz"
    write_archive(target, parts)
    return Answer(f"{target} was written: keep it safe, it has secrets in it.\n", {"file": str(target)})


@command("request system configuration restore", permission="everything")
def restore(session: Any, file: FileName) -> Answer:
    """Make the candidate what an archive has: look at `show | compare`, then commit.

    file: name of the archive, in the box's directory of configurations.
    """
    if session.mode is None:
        raise UsageError("This changes the candidate: type `configure` first, then `run request ... restore`.")
    store = session.engine.store
    parts = read_archive(store.directory / Path(file).name)
    if CONFIGURATION not in parts:
        raise Error(f"{file} is no backup: there is no {CONFIGURATION} in it.")
    config = read(store.schema, parts.pop(CONFIGURATION).decode())
    session.replace(config)
    for name, content in parts.items():
        target = store.prefix_lists / Path(name).name
        store.replace_file(target, content)
    return Answer(f"The candidate is what {file} has; commit makes it real.\n", {"prefix_lists": sorted(parts)})


def read_archive(path: Path) -> dict[str, bytes]:
    """The parts of an archive, by name.

    Raises:
        NotThere: there is no such file.
        Error: it is no archive.
    """
    found = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix(f"{TOP}/")
                known = name == CONFIGURATION or (name.startswith(LISTS) and "/" not in name.removeprefix(LISTS))
                if member.isfile() and known and member.size <= LARGEST and (file := archive.extractfile(member)):
                    found[name] = file.read()
    except FileNotFoundError:
        raise NotThere(f"There is no file {path}.") from None
    except (OSError, tarfile.TarError, EOFError) as e:
        raise Error(f"{path.name} is no backup: {e}.") from None
    return found
