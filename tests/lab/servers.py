"""Servers that everybody uses, on the lab's server, and what they serve; those that are installed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from smartwire.errors import Error
from smartwire.lab.net import Lab, run

HTTP, H2C, HTTPS, UPLOADS, SSH, RSYNC, IPERF = 80, 81, 443, 82, 2222, 8730, 5201
SITE = "site"
SIZES = {"small": 1, "medium": 120_000, "large": 700_000}
LARGE = SIZES["large"]
MODES = ("up", "down", "both")
READY_S = 30.0

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    server {{
        listen 80; listen [::]:80; listen 81 http2; listen [::]:81 http2; {tls}
        root {folder}/site;
        location /upload {{
            client_body_in_file_only on; proxy_pass_request_body off; proxy_set_header Content-Length "";
            proxy_set_header X-File $request_body_file; proxy_pass http://127.0.0.1:82;
        }}
    }}
    server {{ listen 127.0.0.1:82; return 200 $http_x_file; }}
}}
"""
TLS = "listen 443 ssl http2; listen [::]:443 ssl http2;"
SSHD = """
Port {SSH}
HostKey {folder}/host
AuthorizedKeysFile {folder}/phone.pub
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 100
PidFile none
Subsystem sftp internal-sftp
"""
RSYNCD = """
use chroot = no
uid = root
gid = root
[lab]
path = {folder}/tree
"""


def ssh_options(folder: Path) -> tuple[str, ...]:
    """The phone knows its key and nothing else."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes",
               "IdentitiesOnly=yes")  # fmt: skip
    return ("-F", "none", "-i", str(folder / "phone"), *(word for option in options for word in ("-o", option)))


class Stand:
    """The servers, as long as the context lasts.

    Args:
        folder: for what they serve and write, empty.
    """

    def __init__(self, lab: Lab, folder: Path, versions: tuple[int, ...] = (4, 6)) -> None:
        self.lab, self.folder, self.versions = lab, folder, versions
        self.processes: list[subprocess.Popen] = []
        self.ports: list[int] = []
        self.hashes: dict[str, str] = {}

    def __enter__(self) -> Stand:
        self._content()
        try:
            for tool, start in (("nginx", self._nginx), ("sshd", self._sshd), ("rsync", self._rsync),
                                ("iperf3", self._iperf)):  # fmt: skip
                if shutil.which(tool):
                    start()
            self._ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def bracketed(self, version: int) -> str:
        """The server's address as a URL has it."""
        return f"[{self.lab.server(version)}]" if version == 6 else self.lab.server(version)

    def url(self, version: int, scheme: str, port: int) -> str:
        """Of the site."""
        return f"{scheme}://{self.bracketed(version)}:{port}"

    @staticmethod
    def iperf_port(version: int, mode: str) -> int:
        """An iperf3 serves one client at a time: each use has its own."""
        return IPERF + 10 * version + MODES.index(mode)

    def _content(self) -> None:
        chance = random.Random(1)
        files = self.folder / SITE
        files.mkdir()
        for name, size in SIZES.items():
            (files / name).write_bytes(chance.randbytes(size))
            self.hashes[name] = hashlib.sha256((files / name).read_bytes()).hexdigest()
        for i in range(60):
            file = self.folder / "tree" / f"folder{i % 7}" / f"file{i}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(chance.randbytes(chance.choice((0, 10, 1_000, 30_000))))
        if shutil.which("git"):
            self._repository()

    def _repository(self) -> None:
        """The tree as a repository that plain HTTP can serve."""
        bare, git = self.folder / SITE / "tree.git", ("git", "-c", "user.name=lab", "-c", "user.email=lab@example.net")
        run(*git, "init", "-q", "--bare", str(bare))
        inside = (*git, f"--git-dir={bare}", f"--work-tree={self.folder / 'tree'}")
        run(*inside, "add", ".")
        run(*inside, "commit", "-qm", "All of it")
        run(*inside, "repack", "-adq")
        run(*inside, "update-server-info")

    def _start(self, *argv: str, ports: tuple[int, ...]) -> None:
        log = (self.folder / f"{Path(argv[0]).name}.out").open("a")
        self.processes.append(self.lab.popen("server", *argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        self.ports += ports

    def _nginx(self) -> None:
        tls = ""
        if shutil.which("openssl"):
            tls = TLS
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", "/CN=lab", "-days", "2", "-keyout", f"{self.folder}/key.pem",
                "-out", f"{self.folder}/cert.pem")  # fmt: skip
        text = NGINX.format(folder=self.folder, tls=tls)
        if not tls:
            text = "\n".join(line for line in text.splitlines() if "ssl_certificate" not in line)
        (self.folder / "nginx.conf").write_text(text)
        self._start("nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"),
                    ports=(HTTP, H2C, UPLOADS, *((HTTPS,) if tls else ())))  # fmt: skip

    def _sshd(self) -> None:
        for name in ("host", "phone"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        (self.folder / "sshd.conf").write_text(SSHD.format(folder=self.folder, SSH=SSH))
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self._start(str(shutil.which("sshd")), "-D", "-e", "-f", str(self.folder / "sshd.conf"), ports=(SSH,))

    def _rsync(self) -> None:
        (self.folder / "rsyncd.conf").write_text(RSYNCD.format(folder=self.folder))
        self._start("rsync", "--daemon", "--no-detach", f"--port={RSYNC}", f"--config={self.folder}/rsyncd.conf",
                    ports=(RSYNC,))  # fmt: skip

    def _iperf(self) -> None:
        for version in self.versions:
            for mode in MODES:
                port = self.iperf_port(version, mode)
                self._start("iperf3", "-s", "-p", str(port), ports=(port,))

    def _ready(self) -> None:
        """All listen."""
        until = time.monotonic() + READY_S
        while True:
            listening = self.lab.run("server", "ss", "-Hltn")
            silent = [port for port in self.ports if f":{port} " not in listening]
            if not silent:
                return
            dead = [p for p in self.processes if p.poll() is not None]
            if dead or time.monotonic() > until:
                said = [line for log in self.folder.glob("*.out") for line in log.read_text().splitlines()[-2:]]
                raise Error(f"No server listens on port {silent[0]}: {' '.join(said) or 'none gave a reason'}")
            time.sleep(0.05)
