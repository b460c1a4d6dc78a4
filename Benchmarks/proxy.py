#!/usr/bin/env python3
"""CPU of a proxy for each request: Gatehouse beside nginx, HAProxy and nghttpx, in turns within one run.

    proxy.py [WORK...] [--binary B] [--seconds 3] [--rounds 3] [--workers 1]

WORK: plain     an open route, HTTP/1.1
      bearer    a JWT (ES256), the same in every request: proven once, then remembered
      fresh     the same with `token_cache off`: proven in each request
      h2        an open route, HTTP/2 over TLS

Prints user and system CPU microseconds a request, medians of the rounds. The proxy has CPU 0, load and upstream (nginx, 1 KiB
answers) have CPU 1. The peers check no credential. Needs taskset, wrk, nginx, openssl; for h2 h2load; haproxy and nghttpx are
measured where they are installed. Only ratios of one run mean anything: machines drift. Everything that is started is ended.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from issue import free_port, running, user_and_system

ROOT = Path(__file__).resolve().parent.parent
WORKS = ("plain", "bearer", "fresh", "h2")
HEADERS = (
    "User-Agent: bench/1.0", "Accept: application/json", "Accept-Encoding: gzip, br", "Accept-Language: en-GB,en;q=0.8",
    "Origin: https://app.example.test", "Referer: https://app.example.test/items", "Cache-Control: no-cache",
)


def nginx(port: int, folder: Path, inside: str, outside: str = "") -> list[str]:
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    {outside}
    server {{ listen 127.0.0.1:{port} {inside} }}
}}
""")
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def gatehouse(work: str, port: int, upstream: int, folder: Path, arguments: argparse.Namespace) -> list[str]:
    tls = "tls { certificate tls.crt; key tls.key; } protocols h2 http/1.1;" if work == "h2" else ""
    (folder / "gateway.conf").write_text(f"""
workers {arguments.workers};
token_cache {"off" if work == "fresh" else "64m"};
listener api {{ address 127.0.0.1:{port}; {tls} limits {{ streams 256; }} }}
log {{ access off; error stderr warn; }}
store sqlite {{ path state.db; }}
authority {{ issuer http://bench.test; token_lifetime 1h; }}
client robot {{ secret_file secret; }}
upstream app {{ server 127.0.0.1:{upstream}; keepalive 1024; }}
route / {{ upstream app; authenticate {"none" if work in ("plain", "h2") else "bearer"}; }}
""")
    return [arguments.binary, "serve", "--config", str(folder / "gateway.conf")]


def haproxy(work: str, port: int, upstream: int, folder: Path) -> list[str]:
    tls = f"ssl crt {folder / 'tls.pem'} alpn h2,http/1.1" if work == "h2" else ""
    (folder / "haproxy.cfg").write_text(f"""
global
    nbthread 1
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port} {tls}
    option forwardfor
    default_backend back
backend back
    server one 127.0.0.1:{upstream}
""")
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def command(peer: str, work: str, port: int, upstream: int, folder: Path, arguments: argparse.Namespace) -> list[str]:
    if peer == "gatehouse":
        return gatehouse(work, port, upstream, folder, arguments)
    if peer == "haproxy":
        return haproxy(work, port, upstream, folder)
    if peer == "nginx":
        tls = f"ssl http2; ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key" if work == "h2" else ""
        inside = (f"{tls}; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; "
                  "proxy_set_header X-Forwarded-For $remote_addr; }")
        outside = (f"upstream app {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }}")
        return nginx(port, folder, inside, outside)
    front = f"127.0.0.1,{port}" + ("" if work == "h2" else ";no-tls")
    return ["nghttpx", "--conf=/dev/null", "--workers=1", f"--frontend={front}", f"--backend=127.0.0.1,{upstream}",
            "--accesslog-file=/dev/null", *([str(folder / "tls.key"), str(folder / "tls.crt")] if work == "h2" else [])]


def pinned(command: list[str], cpu: int) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def load(work: str, port: int, seconds: int, token: str | None) -> int:
    headers = [*HEADERS, *([f"Authorization: Bearer {token}"] if token else [])]
    flags = [part for header in headers for part in ("-H", header)]
    if work == "h2":
        tool = ["h2load", "-t1", "-c16", "-m32", f"-D{seconds}", *flags, f"https://127.0.0.1:{port}/items/42"]
    else:
        tool = ["wrk", "-t1", "-c64", f"-d{seconds}s", *flags, f"http://127.0.0.1:{port}/items/42"]
    result = subprocess.run(pinned(tool, 1), capture_output=True, text=True, timeout=seconds + 60)
    text = result.stdout + result.stderr
    if work == "h2":
        found = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", text)
    else:
        found = None if "Non-2xx" in text or "Socket errors" in text else re.search(r"(\d+) requests in", text)
    if not found or int(found[1]) == 0:
        sys.exit(f"no honest run: {text[-500:]}")
    return int(found[1])


def token_of(folder: Path, arguments: argparse.Namespace) -> str:
    result = subprocess.run(
        [arguments.binary, "token", "issue", "--client", "robot", "--config", str(folder / "gateway.conf")],
        capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return result.stdout.strip()


def measure(peer: str, work: str, upstream: int, folder: Path, arguments: argparse.Namespace) -> tuple[float, float]:
    port = free_port()
    with running(pinned(command(peer, work, port, upstream, folder, arguments), 0), port, folder) as process:
        token = token_of(folder, arguments) if peer == "gatehouse" and work not in ("plain", "h2") else None
        load(work, port, 1, token)
        before = user_and_system(process.pid)
        count = load(work, port, arguments.seconds, token)
        after = user_and_system(process.pid)
    return (after[0] - before[0]) / count * 1e6, (after[1] - before[1]) / count * 1e6


def prepare(folder: Path) -> None:
    (folder / "secret").write_text("s3cret")
    (folder / "secret").chmod(0o600)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "tls.key", "-out", "tls.crt"],
        cwd=folder, check=True, capture_output=True)
    (folder / "tls.key").chmod(0o600)
    (folder / "tls.pem").write_text((folder / "tls.crt").read_text() + (folder / "tls.key").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=list(WORKS), metavar="WORK")
    parser.add_argument("--binary", default=str(ROOT / ".build/release/gatehouse"))
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if unknown := set(arguments.works) - set(WORKS):
        parser.error(f"no such work: {' '.join(sorted(unknown))}; there are {' '.join(WORKS)}")
    for tool in ("taskset", "wrk", "nginx", "openssl"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    with tempfile.TemporaryDirectory() as text:
        folder, port = Path(text), free_port()
        prepare(folder)
        (folder / "up").mkdir()
        inside = "; location / { default_type application/json; return 200 '" + "x" * 1024 + "'; }"
        with running(pinned(nginx(port, folder / "up", inside), 1), port, folder / "up"):
            print(f"{'work':8} {'peer':10} {'user':>6} {'system':>7} {'total us/request':>17}", flush=True)
            for work in arguments.works:
                peers = ["gatehouse"]
                if work in ("plain", "h2"):
                    peers += [peer for peer in ("nginx", "haproxy", "nghttpx") if shutil.which(peer)]
                seen: dict[str, list[tuple[float, float]]] = {}
                for _ in range(arguments.rounds):
                    for peer in peers:
                        seen.setdefault(peer, []).append(measure(peer, work, port, folder, arguments))
                for peer, figures in seen.items():
                    user, system = sorted(figures, key=sum)[len(figures) // 2]
                    print(f"{work:8} {peer:10} {user:6.1f} {system:7.1f} {user + system:17.1f}", flush=True)


if __name__ == "__main__":
    main()
