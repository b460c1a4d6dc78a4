#!/usr/bin/env python3
"""Tokens issued by the token endpoint, beside Authlib under gunicorn in the same run; and the store after many of them.

    issue.py rate  [--binary B] [--seconds 5]       tokens a second and CPU a token: JWT (ES256) and opaque, in memory and
                                                    in SQLite, and Authlib's JWTs (ES256)
    issue.py store [--binary B] [--tokens 1000000]  size of an SQLite database while so many opaque tokens are issued that
                                                    live 10 s, and when they have ended

One client by client_secret_basic; wrk sends, 32 connections. Needs wrk, gunicorn, python3-authlib and python3-flask.
Everything that is started is ended.
"""
from __future__ import annotations

import argparse
import base64
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECRET = "s3cret"
WRK = """
wrk.method = "POST"
wrk.body = "grant_type=client_credentials"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Authorization"] = "Basic %s"
done = function(summary)
    io.write(string.format("requests %%d bad %%d micros %%d\\n", summary.requests, summary.errors.status, summary.duration))
end
""" % base64.b64encode(b"robot:" + SECRET.encode()).decode()
PEER = """
import time, uuid
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.jose import JsonWebKey, jwt
from authlib.oauth2.rfc6749 import ClientMixin, grants
from flask import Flask

key = JsonWebKey.generate_key("EC", "P-256", is_private=True)

class Client(ClientMixin):
    def get_client_id(self): return "robot"
    def check_client_secret(self, secret): return secret == "s3cret"
    def check_endpoint_auth_method(self, method, endpoint): return method == "client_secret_basic"
    def check_grant_type(self, grant_type): return grant_type == "client_credentials"
    def get_allowed_scope(self, scope): return ""

app = Flask("peer")
server = AuthorizationServer(app, query_client=lambda id: Client() if id == "robot" else None, save_token=lambda *_: None)
server.register_grant(grants.ClientCredentialsGrant)

def make(grant_type, client, user=None, scope=None, **_):
    now = int(time.time())
    claims = {"iss": "http://peer.test", "aud": "http://peer.test", "sub": "robot", "client_id": "robot", "iat": now,
              "exp": now + 600, "jti": uuid.uuid4().hex}
    return {"access_token": jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "k"}, claims, key).decode(),
            "token_type": "Bearer", "expires_in": 600}

server.register_token_generator("default", make)
app.post("/oauth2/token")(lambda: server.create_token_response())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command: list[str], port: int, folder: Path, **environment: str):
    log = open(folder / "log", "w")
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               start_new_session=True, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{command[0]} does not listen: {(folder / 'log').read_text()[-500:]}")
                time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def user_and_system(pgid: int) -> tuple[float, float]:
    """CPU seconds of all processes of a group, from the clock ticks of /proc."""
    user = system = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pgid:
            user += int(fields[11])
            system += int(fields[12])
    ticks = os.sysconf("SC_CLK_TCK")
    return user / ticks, system / ticks


def cpu_seconds(pgid: int) -> float:
    return sum(user_and_system(pgid))


def load(port: int, seconds: int, folder: Path) -> tuple[int, float]:
    (folder / "load.lua").write_text(WRK)
    result = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(folder / "load.lua"), f"http://127.0.0.1:{port}/oauth2/token"],
        capture_output=True, text=True, timeout=seconds + 30)
    found = re.search(r"requests (\d+) bad (\d+) micros (\d+)", result.stdout)
    if not found or int(found[2]) > 0 or int(found[1]) == 0:
        sys.exit(f"no honest run: {result.stdout} {result.stderr}")
    return int(found[1]), int(found[3]) / 1e6


def conf(port: int, form: str, store: str, more: str = "") -> str:
    return f"""
workers 1;
listener api {{ address 127.0.0.1:{port}; }}
log {{ access off; error stderr warn; }}
store {store}
secrets {{ key_file secrets.key; }}
authority {{ issuer http://issue.test; token_format {form}; {more} }}
client robot {{ secret_file secret; }}
"""


def rate(arguments: argparse.Namespace) -> None:
    cases = [(f"gatehouse {form}, {store}", form, store)
             for form in ("jwt", "opaque") for store in ("memory", "sqlite")]
    print(f"{'':34} tokens/s  CPU us/token")
    for name, form, store in [*cases, ("Authlib under gunicorn, JWT", None, None)]:
        with tempfile.TemporaryDirectory() as text:
            folder, port = Path(text), free_port()
            if form:
                (folder / "secret").write_text(SECRET)
                (folder / "secret").chmod(0o600)
                place = "sqlite { path state.db; }" if store == "sqlite" else "memory;"
                (folder / "gateway.conf").write_text(conf(port, form, place))
                command = [arguments.binary, "serve", "--config", str(folder / "gateway.conf")]
                more = {}
            else:
                (folder / "peer.py").write_text(PEER)
                command = ["gunicorn", "--workers", "1", "--threads", "4", "--bind", f"127.0.0.1:{port}", "peer:app"]
                more = {"AUTHLIB_INSECURE_TRANSPORT": "1"}
            with running(command, port, folder, **more) as process:
                load(port, 1, folder)
                before = cpu_seconds(process.pid)
                count, seconds = load(port, arguments.seconds, folder)
                used = cpu_seconds(process.pid) - before
                print(f"{name:34} {count / seconds:8.0f} {used / count * 1e6:13.1f}", flush=True)


def store(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder, port = Path(text), free_port()
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        (folder / "gateway.conf").write_text(conf(port, "opaque", "sqlite { path state.db; }", "token_lifetime 10s;"))

        def size() -> str:
            files = [folder / name for name in ("state.db", "state.db-wal")]
            return " + ".join(f"{path.stat().st_size / 2**20:.1f}" for path in files if path.exists())

        def rows() -> int:
            import sqlite3
            with sqlite3.connect(f"file:{folder / 'state.db'}?mode=ro", uri=True) as database:
                return database.execute("SELECT count(*) FROM token").fetchone()[0]

        with running([arguments.binary, "serve", "--config", str(folder / "gateway.conf")], port, folder):
            issued, step = 0, 10
            while issued < arguments.tokens:
                issued += load(port, step, folder)[0]
                print(f"issued {issued}: {rows()} in the store, {size()} MiB (database + log)", flush=True)
            deadline = time.monotonic() + 60
            while rows() and time.monotonic() < deadline:
                time.sleep(1)
            print(f"after their end: {rows()} in the store, {size()} MiB", flush=True)
            if rows():
                sys.exit("tokens that ended are still there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "store"))
    parser.add_argument("--binary", default=str(ROOT / ".build/release/gatehouse"))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    arguments = parser.parse_args()
    {"rate": rate, "store": store}[arguments.what](arguments)


if __name__ == "__main__":
    main()
