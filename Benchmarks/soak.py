#!/usr/bin/env python3
"""Long-running checks of a release binary on loopback; standard library, nginx and wrk only.

    soak.py idle   [--binary B] [--connections 10000]   resident memory of an idle keep-alive connection
    soak.py stream [--binary B] [--mib 1024]            peak memory while so much goes up, then down, at a limited rate
    soak.py mixed  [--binary B] [--seconds 600]         mixed load with a reload every second: failures, memory, descriptors

Each prints what it measured and exits non-zero when a promise is broken. Everything that is started is ended.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"nothing listens on port {port}")
            time.sleep(0.02)


def status(pid: int, name: str) -> int:
    """A kB figure of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


CONF = """
workers {workers};
listener api {{ address 127.0.0.1:{port}; limits {{ idle_timeout 600s; connections 60000; body 2g; body_timeout 60s; }} }}
log {{ access {log}; error {directory}/error.log info; }}
store sqlite {{ path {directory}/gatehouse.db; }}
authority {{ issuer http://127.0.0.1:{port}; audience soak; scopes read; }}
client soak {{ secret_file {directory}/secret; oauth1_secret_file {directory}/secret; scopes read; }}
upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; response_timeout 60s; }}
route / {{ upstream up; require scope read; }}
route /open {{ upstream up; authenticate none; }}
"""


@contextmanager
def gateway(binary: str, upstream: int, workers: int = 2, log: bool = True):
    with tempfile.TemporaryDirectory(prefix="gatehouse-soak-") as directory:
        port = free_port()
        secret = Path(directory, "secret")
        secret.write_text("soak-secret\n")
        secret.chmod(0o600)
        conf = Path(directory, "gateway.conf")
        access = f"{directory}/access.log" if log else "off"
        conf.write_text(CONF.format(workers=workers, port=port, directory=directory, upstream=upstream, log=access))
        process = subprocess.Popen([binary, "serve", "--config", str(conf)], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield process, port, Path(directory)
        finally:
            process.terminate()
            if process.wait(40) != 0:
                sys.exit(f"the gateway ended with {process.returncode}")


@contextmanager
def nginx():
    with tempfile.TemporaryDirectory(prefix="gatehouse-nginx-") as directory:
        port = free_port()
        temporary = "".join(f"{kind}_temp_path {directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        Path(directory, "nginx.conf").write_text(
            f"worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; {temporary} keepalive_requests 1000000; client_max_body_size 0;\n"
            f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{'x' * 1024}'; }} }} }}\n")
        os.chmod(directory, 0o755)
        process = subprocess.Popen(["nginx", "-c", f"{directory}/nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def idle(arguments) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with nginx() as upstream, gateway(arguments.binary, upstream) as (process, port, _):
        def ask(connection: socket.socket) -> None:
            connection.sendall(b"GET /open HTTP/1.1\r\nHost: soak\r\n\r\n")
            received = b""
            while not received.endswith(b"x" * 1024):
                received += connection.recv(65536)

        warm = [socket.create_connection(("127.0.0.1", port)) for _ in range(500)]
        for connection in warm:
            ask(connection)
        before = status(process.pid, "VmRSS")
        held = []
        for _ in range(arguments.connections):
            connection = socket.create_connection(("127.0.0.1", port))
            ask(connection)
            held.append(connection)
        after = status(process.pid, "VmRSS")
        each = (after - before) * 1024 / len(held)
        print(f"idle connections {len(held)}: RSS {before} kB -> {after} kB, {each:.0f} bytes each")
        for connection in held + warm:
            connection.close()


class Throttled(threading.Thread):
    """An upstream that takes or gives a body at a limited rate, one connection at a time."""

    def __init__(self, total: int, rate: int) -> None:
        super().__init__(daemon=True)
        self.total, self.rate = total, rate
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.digest = ""

    def run(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            head, _, rest = head.partition(b"\r\n\r\n")
            if head.startswith(b"POST"):
                digest, got, start = hashlib.sha256(rest), len(rest), time.monotonic()
                while got < self.total:
                    piece = connection.recv(1 << 18)
                    if not piece:
                        return
                    digest.update(piece)
                    got += len(piece)
                    time.sleep(max(0, got / self.rate - (time.monotonic() - start)))
                body = digest.hexdigest().encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.total)
                for piece in pieces(self.total):
                    connection.sendall(piece)


def pieces(total: int):
    block = bytes(range(256)) * 1024
    sent = 0
    while sent < total:
        piece = block[: total - sent]
        yield piece
        sent += len(piece)


def stream(arguments) -> None:
    total = arguments.mib << 20
    expected = hashlib.sha256()
    for piece in pieces(total):
        expected.update(piece)
    slow = Throttled(total, arguments.rate << 20)
    slow.start()
    with gateway(arguments.binary, slow.port) as (process, port, _):
        before = status(process.pid, "VmRSS")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.putrequest("POST", "/open/up")
        connection.putheader("Content-Length", str(total))
        connection.endheaders()
        for piece in pieces(total):
            connection.send(piece)
        answer = connection.getresponse().read().decode()
        assert answer == expected.hexdigest(), "the body that arrived is another"
        up = status(process.pid, "VmHWM")
        print(f"{arguments.mib} MiB up at {arguments.rate} MiB/s: RSS {before} kB, peak {up} kB")
        connection.request("GET", "/open/down")
        reply = connection.getresponse()
        digest, got, start = hashlib.sha256(), 0, time.monotonic()
        while piece := reply.read(1 << 18):
            digest.update(piece)
            got += len(piece)
            time.sleep(max(0, got / (arguments.rate << 20) - (time.monotonic() - start)))
        assert digest.hexdigest() == expected.hexdigest(), "the body that arrived is another"
        down = status(process.pid, "VmHWM")
        print(f"{arguments.mib} MiB down at {arguments.rate} MiB/s: peak {down} kB")
        if down - before > 32 * 1024:
            sys.exit("memory grew by more than 32 MiB")


def oauth1_header(method: str, url: str, nonce: str) -> str:
    quote = lambda text: urllib.parse.quote(text, safe="-._~")
    parameters = {"oauth_consumer_key": "soak", "oauth_signature_method": "HMAC-SHA256", "oauth_nonce": nonce,
                  "oauth_timestamp": str(int(time.time())), "oauth_version": "1.0"}
    normalized = "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted(parameters.items()))
    base = "&".join([method, quote(url), quote(normalized)])
    signature = base64.b64encode(hmac.new(b"soak-secret&", base.encode(), hashlib.sha256).digest()).decode()
    parameters["oauth_signature"] = signature
    return "OAuth " + ", ".join(f'{k}="{quote(v)}"' for k, v in parameters.items())


class Client(threading.Thread):
    """Requests of every kind, one after the other; counts what did not come back as it should."""

    def __init__(self, port: int, number: int, until: float) -> None:
        super().__init__(daemon=True)
        self.port, self.number, self.until = port, number, until
        self.done, self.failures = 0, []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        basic = "Basic " + base64.b64encode(b"soak:soak-secret").decode()
        token, turn = "", 0
        while time.monotonic() < self.until:
            kind = turn % 5
            try:
                if kind == 0:
                    connection.request("POST", "/oauth2/token", "grant_type=client_credentials",
                                       {"Authorization": basic, "Content-Type": "application/x-www-form-urlencoded"})
                    wanted = 200
                elif kind == 1:
                    connection.request("GET", "/items?a=1", headers={"Authorization": f"Bearer {token}"})
                    wanted = 200
                elif kind == 2:
                    header = oauth1_header("GET", f"http://127.0.0.1:{self.port}/items", f"{self.number}-{turn}")
                    connection.request("GET", "/items", headers={"Authorization": header})
                    wanted = 200
                elif kind == 3:
                    connection.request("GET", "/items")
                    wanted = 401
                else:
                    connection.request("POST", "/open", b"b" * 20000)
                    wanted = 200
                reply = connection.getresponse()
                body = reply.read()
                if reply.status != wanted:
                    self.failures.append(f"kind {kind}: {reply.status} {body[:200]!r}")
                elif kind == 0:
                    token = json.loads(body)["access_token"]
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"kind {kind}: {error!r}")
                connection.close()
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self.done += 1
            turn += 1


def mixed(arguments) -> None:
    with nginx() as upstream, gateway(arguments.binary, upstream) as (process, port, directory):
        until = time.monotonic() + arguments.seconds
        load = subprocess.Popen(
            ["wrk", "-t1", "-c32", f"-d{arguments.seconds}s", f"http://127.0.0.1:{port}/open"],
            stdout=subprocess.PIPE, text=True)
        clients = [Client(port, number, until) for number in range(4)]
        for client in clients:
            client.start()
        reloads, samples, start = 0, [], time.monotonic()
        while time.monotonic() < until:
            os.kill(process.pid, signal.SIGHUP)
            reloads += 1
            time.sleep(1)
            samples.append((status(process.pid, "VmRSS"), descriptors(process.pid)))
            if len(samples) % 60 == 0:
                print(f"{time.monotonic() - start:5.0f} s: RSS {samples[-1][0]} kB, {samples[-1][1]} descriptors", flush=True)
        for client in clients:
            client.join()
        told = load.communicate()[0]
        errors = Path(directory, "error.log").read_text()
        failures = [failure for client in clients for failure in client.failures]
        print("\n".join(line.strip() for line in told.splitlines() if "requests in" in line or "Socket errors" in line or "Non-2xx" in line))
        print(f"{sum(client.done for client in clients)} mixed requests, {len(failures)} failures; {reloads} reloads, {errors.count(' reloaded ')} taken over")
        third = max(1, len(samples) // 3)
        early = max(sample[0] for sample in samples[third:2 * third] or samples)
        late = max(sample[0] for sample in samples[2 * third:] or samples)
        print(f"RSS: highest in the middle third {early} kB, in the last {late} kB; descriptors at the end {samples[-1][1]}")
        if failures:
            sys.exit("\n".join(failures[:5]))
        if "Socket errors" in told or "Non-2xx" in told or late > early * 1.1 + 1024:
            sys.exit("requests were lost, or memory grows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("idle", "stream", "mixed"))
    parser.add_argument("--binary", default=str(ROOT / ".build/release/gatehouse"))
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rate", type=int, default=64, help="MiB per second")
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    {"idle": idle, "stream": stream, "mixed": mixed}[arguments.what](arguments)


if __name__ == "__main__":
    main()
