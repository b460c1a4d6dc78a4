"""A client with a certificate and a clock that the test turns: what curl and s_client keep to themselves.

    tls_client.py CASE PORT FOLDER      prints what it saw, a line for each version of TLS
"""
import http.client
import os
import socket
import ssl
import sys
import time

CASE, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def turn_clock(offset):
    """The gateway's clock, by the file that libfaketime reads; in one step."""
    path = os.path.join(FOLDER, "clock")
    with open(path + ".new", "w") as file:
        file.write(offset + "\n")
    os.rename(path + ".new", path)


class Client:
    def __init__(self, version, name="robot"):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The gateway's certificate is not what is tested, and its time goes with the clock too.
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.minimum_version = self.context.maximum_version = version
        if name:
            self.show(name)

    def show(self, name):
        path = os.path.join(FOLDER, name)
        self.context.load_cert_chain(path + ".crt", path + ".key")

    def connect(self, session=None):
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=self.context, timeout=10)
        raw = socket.create_connection(("127.0.0.1", PORT), timeout=10)
        connection.sock = self.context.wrap_socket(raw, session=session)
        return connection

    def ask(self, connection, path="/machines"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        self.closes = answer.will_close
        return answer.status


def sessions():
    """How long a chain of sessions goes on, each taken up with the ticket of the last."""
    for version in VERSIONS:
        client, session, seen = Client(version), None, []
        for offset in ("+0", "+3600", "+7100", "+7300", "+10800"):
            turn_clock(offset)
            connection = client.connect(session)
            status = client.ask(connection)
            seen.append(("reused" if connection.sock.session_reused else "new") + f":{status}")
            session = connection.sock.session
            connection.close()
        print(*seen)


def ended():
    """A certificate that ends under an open connection, and its renewal."""
    for version in VERSIONS:
        turn_clock("+0")
        client = Client(version)
        connection = client.connect()
        seen = [client.ask(connection)]
        session = connection.sock.session
        turn_clock("+91d")
        seen += [client.ask(connection), "close" if client.closes else "open"]
        client.show("renewed")
        again = client.connect(session)
        seen += [client.ask(again), "reused" if again.sock.session_reused else "new"]
        print(*seen)


def ended_streams():
    """The same on a connection of HTTP/2: the answer, and then GOAWAY."""
    from h2.connection import H2Connection
    from h2.events import ConnectionTerminated, ResponseReceived, StreamEnded

    turn_clock("+0")
    client = Client(VERSIONS[1])
    client.context.set_alpn_protocols(["h2"])
    sock = client.context.wrap_socket(socket.create_connection(("127.0.0.1", PORT), timeout=10))
    h2 = H2Connection()
    h2.initiate_connection()
    seen, ended = [], False
    for offset in ("+0", "+91d"):
        turn_clock(offset)
        h2.send_headers(h2.get_next_available_stream_id(), [
            (":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/machines"),
        ], end_stream=True)
        sock.sendall(h2.data_to_send())
        answered = False
        while not ended and not (answered and offset == "+0"):
            for event in h2.receive_data(sock.recv(65536)):
                if isinstance(event, ResponseReceived):
                    seen.append(dict(event.headers)[b":status"].decode())
                answered = answered or isinstance(event, StreamEnded)
                if isinstance(event, ConnectionTerminated):
                    seen.append("goaway")
                    ended = True
            sock.sendall(h2.data_to_send())
    print(*seen)


def ended_events():
    """A stream that begins when the certificate has ended already."""
    turn_clock("+0")
    connection = Client(VERSIONS[1]).connect()
    connection.request("GET", "/machines/events")
    answer = connection.getresponse()
    line = answer.readline().decode().strip()
    # The grace is 5 s.
    try:
        answer.read()
    except (ConnectionResetError, http.client.IncompleteRead, ssl.SSLError):
        pass
    print(answer.status, line, "closed")


def changed():
    """Rules that change under an open connection, which is to end without a further word."""
    client = Client(VERSIONS[1])
    connection = client.connect()
    print(client.ask(connection), flush=True)
    print("closed" if connection.sock.recv(1) == b"" else "open", flush=True)


def changed_without():
    """The same without a certificate, which is to be required."""
    client = Client(VERSIONS[1], None)
    connection = client.connect()
    print(client.ask(connection, "/"), flush=True)
    print("closed" if connection.sock.recv(1) == b"" else "open", flush=True)


class Records:
    """TLS over a socket, record by record: the caller says when what is waiting leaves."""

    def __init__(self, context):
        self.raw = socket.create_connection(("127.0.0.1", PORT), timeout=10)
        self.coming, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.coming, self.going, server_hostname="localhost")

    def send(self):
        self.raw.sendall(self.going.read())

    def until(self, function):
        """What the function gives once enough has come for it."""
        while True:
            try:
                return function()
            except ssl.SSLWantReadError:
                self.send()
                data = self.raw.recv(65536)
                self.coming.write(data) if data else self.coming.write_eof()

    def begin(self):
        """The first bytes of a handshake."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.send()

    def ask(self, path):
        self.tls.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def answer(self):
        return self.until(lambda: self.tls.read(65536)).decode()


def answer_before_end():
    """A request and the end of TLS in one segment: whether the answer comes before the gateway's own end."""
    for version in VERSIONS:
        context = ssl._create_unverified_context()
        context.minimum_version = context.maximum_version = version
        client = Records(context)
        client.until(client.tls.do_handshake)
        # Whatever is said behind a handshake comes before the first answer.
        client.ask("/nowhere")
        before = client.answer()
        client.ask("/nowhere")
        try:
            client.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        client.send()
        records = b""
        while data := client.raw.recv(65536):
            records += data
        sizes = []
        while records:
            size = int.from_bytes(records[3:5], "big")
            sizes.append(size)
            records = records[5 + size:]
        print(before[:12], "then an answer" if sizes and sizes[0] > 100 else f"then {sizes}")


def drained():
    """A gateway that stands still, and drains when it goes on: each client has sent the first bytes of its handshake, or one
    request on a connection that has served another."""
    known = []
    for version in VERSIONS:
        connection = Client(version, "client").connect()
        connection.request("GET", "/machines")
        assert connection.getresponse().read()
        known.append((version, connection))
    print("known", flush=True)
    while not os.path.exists(os.path.join(FOLDER, "stopped")):
        time.sleep(0.005)
    for _, connection in known:
        connection.request("GET", "/machines")
    new = [(version, Records(Client(version, "client").context)) for version in VERSIONS]
    for _, client in new:
        client.begin()
    print("sent", flush=True)
    for version, connection in known:
        print(version.name, "known", connection.getresponse().status)
    for version, client in new:
        client.until(client.tls.do_handshake)
        client.send()
        client.ask("/machines")
        answer = client.answer()
        # Said or not: what was answered before the gateway heard of its end did not say so.
        try:
            while client.until(lambda: client.tls.read(65536)):
                pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        print(version.name, "new", answer.split()[1], "closed")


globals()[CASE]()
