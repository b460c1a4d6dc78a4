#!/usr/bin/env python3
"""How Gatehouse scales, each against something in the same run: workers, a moderate rate, many of everything, a million.

    scale.py [WORK...] [--binary B] [--seconds 4] [--rounds 3]

WORK: workers   one worker and two: CPU a request, and how connections and work are shared between the two
      paced     1,000 requests a second over 10 connections: percentiles of the answer's time, beside nginx
      many      one route, client and issuer, and 100, 1,000 and 10 of them: CPU a request with remembered tokens, with tokens
                that are proven each time (HS256), and with OAuth 1.0 signatures
      tokens    a million remembered tokens that end after a while: memory, and the longest answers before, as and after they end
      nonces    the same with a million live nonces of OAuth 1.0

The proxy has CPU 0, load and upstream (nginx, 1 KiB answers) have CPU 1; what is compared runs in turns. Needs taskset, wrk,
h2load and nginx. `tokens` and `nonces` take two to three minutes and 4 GB each. Everything that is started is ended.
"""
from __future__ import annotations

import argparse
import base64
import hmac
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from issue import free_port, running, user_and_system
from proxy import HEADERS, ROOT, nginx, pinned
from soak import status

WORKS = ("workers", "paced", "many", "tokens", "nonces")
MILLION = 1_000_000
SECRET = b"s3cret"
HMAC_KEY = b"0123456789abcdef0123456789abcdef"

# Each line of the file: a path, a tab, the value of Authorization. `once` is set where a line is good for one request.
WRK = """
local file, prefix, suffix, lines, place
function init(arguments)
    file = io.open(arguments[1])
    prefix = "GET "
    suffix = " HTTP/1.1\\r\\n%s\\r\\nAuthorization: "
    if arguments[2] == "keep" then
        lines, place = {}, 0
        for line in file:lines() do lines[#lines + 1] = line end
    end
end
function request()
    local line
    if lines then
        place = place %% #lines + 1
        line = lines[place]
    else
        line = file:read("*l")
        if not line then return "GET /used-up HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" end
    end
    local tab = line:find("\\t", 1, true)
    return prefix .. line:sub(1, tab - 1) .. suffix .. line:sub(tab + 1) .. "\\r\\n\\r\\n"
end
""" % "\\r\\n".join(("Host: 127.0.0.1", *HEADERS))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(issuer: int, client: int, number: int, lifetime: int) -> str:
    """A JWT (HS256) of an outside issuer, of the usual size."""
    now = int(time.time())
    header = base64url(b'{"alg":"HS256","typ":"at+jwt","kid":"k"}')
    claims = base64url(json.dumps({
        "iss": f"https://issuer{issuer}.test", "aud": "bench", "sub": f"user-{number}", "client_id": f"client{client}",
        "scope": "read write", "iat": now, "exp": now + lifetime, "jti": f"b0a4c1f2-{number}"}, separators=(",", ":")).encode())
    text = f"{header}.{claims}"
    return f"{text}.{base64url(hmac.digest(HMAC_KEY, text.encode(), 'sha256'))}"


def signed(host: str, path: str, client: int, timestamp: int, number: int) -> list[tuple[str, str]]:
    """The OAuth 1.0 parameters of a GET, HMAC-SHA1."""
    pairs = [("oauth_consumer_key", f"client{client}"), ("oauth_nonce", f"7d8f3e4a{number}"),
             ("oauth_signature_method", "HMAC-SHA1"), ("oauth_timestamp", str(timestamp)), ("oauth_version", "1.0")]
    normalized = "&".join(f"{name}={value}" for name, value in pairs)
    base = f"GET&{quote(f'http://{host}{path}', safe='')}&{quote(normalized, safe='')}"
    code = base64.b64encode(hmac.digest(SECRET + b"&", base.encode(), "sha1")).decode()
    return [*pairs, ("oauth_signature", quote(code, safe=""))]


def in_header(pairs: list[tuple[str, str]]) -> str:
    return "OAuth " + ", ".join(f'{name}="{value}"' for name, value in pairs)


def in_query(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


class Gateway:
    """A conf with so much of each."""

    def __init__(self, folder: Path, binary: str, *, workers: int = 1, routes: int = 1, clients: int = 1, issuers: int = 1,
                 cache: str = "64m", authenticate: str = "bearer oauth1", window: int = 300) -> None:
        self.folder, self.binary, self.upstream = folder, binary, 0
        self.port = free_port()
        self.settings = (workers, routes, clients, issuers, cache, authenticate, window)

    def command(self, upstream: int) -> list[str]:
        workers, routes, clients, issuers, cache, authenticate, window = self.settings
        path = self.folder / "gateway.conf"
        for name, content in (("secret", SECRET.decode()),
                              ("keys.json", json.dumps({"keys": [{"kty": "oct", "kid": "k", "k": base64url(HMAC_KEY)}]}))):
            (self.folder / name).write_text(content)
            (self.folder / name).chmod(0o600)
        lines = [
            f"workers {workers}; token_cache {cache};",
            f"listener api {{ address 127.0.0.1:{self.port}; }}",
            "log { access off; error error.log info; }", "store memory;", f"oauth1 {{ timestamp_window {window}s; }}",
            f"upstream app {{ server 127.0.0.1:{upstream}; keepalive 1024; }}",
            *(f"issuer i{n} {{ issuer https://issuer{n}.test; audience bench; jwks_file keys.json; algorithms HS256; }}"
              for n in range(issuers)),
            *(f"client client{n} {{ secret_file secret; oauth1_secret_file secret; }}" for n in range(clients)),
            *(f"route {route(n)} {{ upstream app; authenticate {authenticate}; }}" for n in range(routes)),
        ]
        path.write_text("\n".join(lines) + "\n")
        return [self.binary, "serve", "--config", str(path)]


def route(number: int) -> str:
    return f"/service/{number}/v1"


class Bench:
    def __init__(self, folder: Path, upstream: int, arguments: argparse.Namespace) -> None:
        self.folder, self.upstream, self.arguments = folder, upstream, arguments
        (folder / "wrk.lua").write_text(WRK)

    def start(self, **settings):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        gateway = Gateway(folder, self.arguments.binary, **settings)
        return gateway, running(pinned(gateway.command(self.upstream), 0), gateway.port, folder)

    def wrk(self, port: int, seconds: int, lines: Path | None, keeps: bool = True, connections: int = 64) -> int:
        """Requests that were answered with 200: all, or the run ends."""
        tool = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        if lines:
            tool += ["-s", str(self.folder / "wrk.lua"), f"http://127.0.0.1:{port}", "--", str(lines), "keep" if keeps else "once"]
        else:
            tool += [*(part for header in HEADERS for part in ("-H", header)), f"http://127.0.0.1:{port}{route(0)}/items/42"]
        result = subprocess.run(pinned(tool, 1), capture_output=True, text=True, timeout=seconds + 120)
        found = re.search(r"(\d+) requests in", result.stdout)
        if not found or int(found[1]) == 0 or "Non-2xx" in result.stdout or "Socket errors" in result.stdout:
            sys.exit(f"no honest run: {result.stdout[-500:]}{result.stderr[-500:]}")
        return int(found[1])

    def paced(self, port: int, seconds: float, uris: list[str] | None = None, header: str | None = None,
              connections: int = 10) -> list[float]:
        """The times of answers in milliseconds, ascending, at 1,000 requests a second."""
        log = self.folder / "times"
        log.unlink(missing_ok=True)
        tool = ["h2load", "--h1", "-t1", f"-c{connections}", f"--rps={1000 // connections}", f"--log-file={log}"]
        tool += [part for name in (*HEADERS, *([header] if header else [])) for part in ("-H", name)]
        if uris:
            (self.folder / "uris").write_text("".join(f"http://127.0.0.1:{port}{uri}\n" for uri in uris))
            tool += [f"-n{len(uris)}", "-i", str(self.folder / "uris")]
        else:
            tool += [f"-n{int(seconds * 1000)}", f"http://127.0.0.1:{port}{route(0)}/items/42"]
        result = subprocess.run(pinned(tool, 1), capture_output=True, text=True, timeout=seconds + 60)
        rows = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        if not rows or any(row[1] != "200" for row in rows):
            sys.exit(f"no honest run: {result.stdout[-800:]}{result.stderr[-300:]}")
        return sorted(int(row[2]) / 1000 for row in rows)

    def cpu(self, process: subprocess.Popen, work) -> float:
        """CPU microseconds a request while `work` sends."""
        before = sum(user_and_system(process.pid))
        count = work()
        return (sum(user_and_system(process.pid)) - before) / count * 1e6

    # One and two workers

    def workers(self) -> None:
        seen: dict[int, list[float]] = {1: [], 2: []}
        shares: list[str] = []
        for _ in range(self.arguments.rounds):
            for workers in seen:
                gateway, process = self.start(workers=workers, authenticate="none")
                with process as process:
                    self.wrk(gateway.port, 1, None)
                    before = thread_times(process.pid)
                    held: list[dict[int, int]] = []
                    seen[workers].append(self.cpu(process, lambda: self.watched(gateway.port, process.pid, held)))
                    if workers == 2:
                        spent = [after - then for then, after in zip(before, thread_times(process.pid))]
                        work = "/".join(f"{100 * part / sum(spent):.0f}" for part in spent)
                        shares.append(f"connections {'/'.join(str(n) for n in held[0].values())}, CPU {work} %")
        one, two = (statistics.median(seen[n]) for n in (1, 2))
        print(f"one worker {one:.1f} us a request, two {two:.1f} us: ratio {two / one:.2f}")
        print("the two workers' shares by round: " + "; ".join(shares), flush=True)

    def watched(self, port: int, pid: int, held: list) -> int:
        """Sends, and looks in the middle of it who has how many of the clients' connections."""
        load = subprocess.Popen(
            pinned(["wrk", "-t1", "-c64", f"-d{self.arguments.seconds}s", *(p for h in HEADERS for p in ("-H", h)),
                    f"http://127.0.0.1:{port}{route(0)}/items/42"], 1), stdout=subprocess.PIPE, text=True)
        time.sleep(self.arguments.seconds / 2)
        held.append(connections_by_loop(pid, port))
        output = load.communicate(timeout=self.arguments.seconds + 60)[0]
        return int(re.search(r"(\d+) requests in", output)[1])

    # A moderate rate

    def percentiles(self) -> None:
        seen: dict[str, list[list[float]]] = {}
        header = f"Authorization: Bearer {token(0, 0, 0, 3600)}"
        inside = (f"location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; "
                  "proxy_set_header X-Forwarded-For $remote_addr; }")
        outside = f"upstream app {{ server 127.0.0.1:{self.upstream}; keepalive 1024; keepalive_requests 1000000000; }}"
        peer, port = self.folder / "peer", free_port()
        peer.mkdir()
        seconds = 2 * self.arguments.seconds
        with running(pinned(nginx(port, peer, "; " + inside, outside), 0), port, peer):
            gateway, process = self.start(authenticate="none")
            checked, checking = self.start()
            with process, checking:
                for round in range(self.arguments.rounds + 1):
                    for name, to, field in (("nginx, checks nothing", port, None), ("gatehouse, checks nothing", gateway.port, None),
                                            ("gatehouse, a token", checked.port, header)):
                        times = self.paced(to, 1 if round == 0 else seconds, header=field)
                        if round > 0:
                            seen.setdefault(name, []).append(times)
        print(f"1,000 requests a second, {seconds} s, medians of {self.arguments.rounds} rounds; milliseconds")
        for name, rounds in seen.items():
            parts = [f"p{100 * part:g} {statistics.median(at(times, part) for times in rounds):.3f}" for part in (0.5, 0.9, 0.99, 0.999)]
            print(f"{name:26} {'  '.join(parts)}", flush=True)

    # Many of everything

    def many(self) -> None:
        many = {"routes": 100, "clients": 1000, "issuers": 10}
        for name, cache in (("remembered tokens", "64m"), ("tokens proven each time", "off"), ("OAuth 1.0", "off")):
            seen: dict[str, list[float]] = {"one": [], "many": []}
            for round in range(self.arguments.rounds):
                for kind in ("one", "many") if round % 2 == 0 else ("many", "one"):
                    gateway, process = self.start(cache=cache, **(many if kind == "many" else {}))
                    with process as process:
                        lines, keeps = self.lines(name, gateway, *(gateway.settings[1:4]))
                        warm, timed = lines if isinstance(lines, tuple) else (lines, lines)
                        self.wrk(gateway.port, 1, warm, keeps)
                        seen[kind].append(self.cpu(process, lambda: self.wrk(gateway.port, self.arguments.seconds, timed, keeps)))
            one, many_ = statistics.median(seen["one"]), statistics.median(seen["many"])
            print(f"{name:26} of one {one:.2f} us a request, of many {many_:.2f} us: ratio {many_ / one:.3f}"
                  f"   (rounds {' '.join(f'{b / a:.2f}' for a, b in zip(seen['one'], seen['many']))})", flush=True)

    def lines(self, name: str, gateway: Gateway, routes: int, clients: int, issuers: int):
        """A file of requests in no order; for signatures two, of which each line is good once."""
        path = gateway.folder / "lines"
        if name != "OAuth 1.0":
            # As many tokens for the one as for the many: what differs is whose they are.
            entries = [f"{route(n % routes)}/items/42\tBearer {token(n % issuers, n % clients, n, 3600)}" for n in range(1000)]
            random.shuffle(entries)
            path.write_text("\n".join(entries) + "\n")
            return path, True
        now, host = int(time.time()), "127.0.0.1"
        for part, count in (("warm", 100_000), ("timed", 80_000 * self.arguments.seconds)):
            with open(gateway.folder / part, "w") as file:
                for n in range(count):
                    target = f"{route(n % routes)}/items/42"
                    file.write(f"{target}\t{in_header(signed(host, target, n % clients, now, f'{part}{n}'))}\n")
        return (gateway.folder / "warm", gateway.folder / "timed"), False

    # A million

    def tokens(self) -> None:
        lifetime = 75
        gateway, process = self.start(cache="8g")
        with process as process:
            path = gateway.folder / "lines"
            with open(path, "w") as file:
                for n in range(MILLION):
                    file.write(f"{route(0)}/items/42\tBearer {token(0, 0, n, lifetime)}\n")
            # 30 s is how far clocks may differ.
            ended = time.monotonic() + lifetime + 30
            self.fill(gateway, process, path, f"Authorization: Bearer {token(0, 0, MILLION, 3600)}", ended)

    def nonces(self) -> None:
        window = 75
        gateway, process = self.start(window=window)
        with process as process:
            path, target = gateway.folder / "lines", f"{route(0)}/items/42"
            with open(path, "w") as file:
                for n in range(MILLION):
                    file.write(f"{target}\t{in_header(signed('127.0.0.1', target, 0, int(time.time()), str(n)))}\n")
            self.fill(gateway, process, path, None, time.monotonic() + window)

    def fill(self, gateway: Gateway, process: subprocess.Popen, path: Path, header: str | None, ended: float) -> None:
        """Sends a line each, then probes while they live, as they end, and after."""
        self.probe(gateway, "before any", header)
        before = status(process.pid, "VmRSS")
        send_all(gateway.port, path)
        if time.monotonic() > ended:
            sys.exit("too slow: some had ended before the last was sent")
        after = status(process.pid, "VmRSS")
        print(f"{MILLION} requests, one each: RSS {before} kB -> {after} kB, {(after - before) * 1024 / MILLION:.0f} bytes each", flush=True)
        self.probe(gateway, "all live", header)
        while time.monotonic() < ended:
            self.probe(gateway, "as they end", header)
        self.probe(gateway, "after", header)
        print(f"RSS {status(process.pid, 'VmRSS')} kB; a reload lets go of all that is remembered", flush=True)
        os.kill(process.pid, signal.SIGHUP)
        self.probe(gateway, "with a reload", header)
        print(f"RSS {status(process.pid, 'VmRSS')} kB", flush=True)

    def probe(self, gateway: Gateway, name: str, header: str | None) -> None:
        uris = None
        if header is None:
            now, target = int(time.time()), f"{route(0)}/items/42"
            uris = [f"{target}?{in_query(signed(f'127.0.0.1:{gateway.port}', target, 0, now, f'probe{n}'))}" for n in range(10_000)]
        times = self.paced(gateway.port, 10, uris, header, connections=1)
        print(f"{name:16} p50 {at(times, 0.5):.3f}  p99 {at(times, 0.99):.3f}  p99.9 {at(times, 0.999):.3f}  longest {times[-1]:.3f} ms",
              flush=True)


def send_all(port: int, path: Path) -> None:
    """Sends every line of a file once, pipelined over a few connections; each must be answered with 200."""
    head = " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "
    connections, batch = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)], 32
    os.sched_setaffinity(0, {1})
    with open(path) as file:
        while True:
            asked = []
            for connection in connections:
                lines = [line.rstrip("\n").split("\t") for line in itertools.islice(file, batch)]
                if lines:
                    connection.sendall("".join(f"GET {target}{head}{value}\r\n\r\n" for target, value in lines).encode())
                    asked.append((connection, len(lines)))
            if not asked:
                break
            for connection, count in asked:
                answers = b""
                while answers.count(b"HTTP/1.1 ") < count or not answers.endswith(b"x" * 1024):
                    piece = connection.recv(1 << 18)
                    if not piece:
                        sys.exit("a connection ended")
                    answers += piece
                if answers.count(b"HTTP/1.1 200 ") != count:
                    sys.exit(f"refused: {answers[:300]!r}")
    for connection in connections:
        connection.close()


def at(times: list[float], part: float) -> float:
    return times[min(len(times) - 1, int(len(times) * part))]


def thread_times(pid: int) -> list[int]:
    """Clock ticks of each worker's thread."""
    times = []
    for path in sorted(Path(f"/proc/{pid}/task").glob("*/stat"), key=lambda path: int(path.parent.name)):
        text = path.read_text()
        if "(gh-worker" in text:
            fields = text.rsplit(")", 1)[1].split()
            times.append(int(fields[11]) + int(fields[12]))
    return times


def connections_by_loop(pid: int, port: int) -> dict[int, int]:
    """How many of the clients' connections each epoll instance watches."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rsplit(":", 1)[1], 16) == port and fields[3] == "01":
            inodes.add(fields[9])
    counts = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(link) != "anon_inode:[eventpoll]":
            continue
        watched = re.findall(r"tfd:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{link.name}").read_text())
        held = 0
        for descriptor in watched:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue
            held += target.startswith("socket:[") and target[8:-1] in inodes
        if held:
            counts[int(link.name)] = held
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=["workers", "paced", "many"], metavar="WORK")
    parser.add_argument("--binary", default=str(ROOT / ".build/release/gatehouse"))
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if unknown := set(arguments.works) - set(WORKS):
        parser.error(f"no such work: {' '.join(sorted(unknown))}; there are {' '.join(WORKS)}")
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    for tool in ("taskset", "wrk", "h2load", "nginx"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    with tempfile.TemporaryDirectory() as text:
        folder, port = Path(text), free_port()
        (folder / "up").mkdir()
        inside = "; location / { default_type application/json; return 200 '" + "x" * 1024 + "'; }"
        with running(pinned(nginx(port, folder / "up", inside), 1), port, folder / "up"):
            bench = Bench(folder, port, arguments)
            works = {"workers": bench.workers, "paced": bench.percentiles, "many": bench.many, "tokens": bench.tokens,
                     "nonces": bench.nonces}
            for work in arguments.works:
                print(f"# {work}", flush=True)
                works[work]()


if __name__ == "__main__":
    main()
