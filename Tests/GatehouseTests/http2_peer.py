"""Clients that speak HTTP/2 frame by frame (python3-h2), for what curl and nghttp cannot be told to do.

    http2_peer.py CASE PORT [--ca FILE]     prints what it saw, one line; with a certificate it speaks TLS
"""
import socket
import ssl
import sys
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    PingReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings


AUTHORITY = None
if "--ca" in sys.argv:
    AUTHORITY = sys.argv.pop(sys.argv.index("--ca") + 1)
    sys.argv.remove("--ca")


class Client:
    def __init__(self, port, window=None, outbound_checks=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        if AUTHORITY:
            context = ssl.create_default_context(cafile=AUTHORITY)
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        config = H2Configuration(
            validate_outbound_headers=outbound_checks,
            normalize_outbound_headers=outbound_checks,
        )
        self.h2 = H2Connection(config)
        if window is not None:
            self.h2.local_settings = Settings(
                client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.initiate_connection()
        self.flush()
        self.events = []

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def headers(self, method="GET", path="/", *more):
        return [
            (":method", method), (":scheme", "https" if AUTHORITY else "http"), (":authority", "h.example"),
            (":path", path), *more,
        ]

    def request(self, headers, ends=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=ends)
        self.flush()
        return stream

    def receive(self, acknowledge=True):
        data = self.socket.recv(65536)
        if not data:
            return None
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, DataReceived) and acknowledge:
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
        self.flush()
        self.events += events
        return events

    def until(self, kind, stream=None, acknowledge=True):
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            if self.receive(acknowledge) is None:
                raise SystemExit(f"the connection ended before {kind.__name__}")

    def status(self, stream, acknowledge=True):
        head = self.until(ResponseReceived, stream, acknowledge)
        return dict(head.headers)[b":status"].decode()

    def body(self, stream, acknowledge=True):
        self.until(StreamEnded, stream, acknowledge)
        return b"".join(
            e.data for e in self.events
            if isinstance(e, DataReceived) and e.stream_id == stream)


def websocket(port):
    """Extended CONNECT (RFC 8441) to an echo server; both kinds of frames, then a close."""
    client = Client(port)
    stream = tunnel_request(client)
    status = client.status(stream)
    from wsproto.frame_protocol import FrameProtocol, Opcode, CloseReason
    protocol = FrameProtocol(client=True, extensions=[])
    sizes = []
    for size in (0, 5, 70000, 1000000):
        payload = bytes(i % 251 for i in range(size))
        out = protocol.send_data(payload, True)
        got = b""
        done = False
        while not done:
            while out:
                room = min(client.h2.local_flow_control_window(stream), 16384, len(out))
                if room == 0:
                    break
                client.h2.send_data(stream, out[:room])
                client.flush()
                out = out[room:]
            # Window updates come as well as data: either may let it go on.
            for event in client.receive():
                if isinstance(event, DataReceived):
                    protocol.receive_bytes(event.data)
            for frame in protocol.received_frames():
                got += bytes(frame.payload)
                done = frame.message_finished
        assert got == payload
        sizes.append(size)
    client.h2.send_data(stream, protocol.close(CloseReason.NORMAL_CLOSURE), end_stream=False)
    client.flush()
    client.until(StreamEnded, stream)
    print(status, sizes)


def tunnel_request(client, path="/", *more):
    return client.request(
        client.headers("CONNECT", path, (":protocol", "websocket"),
                       ("sec-websocket-version", "13"), *more), ends=False)


def refused_websocket(port):
    client = Client(port)
    stream = tunnel_request(client, "/other")
    print(client.status(stream), "reset", int(client.until(StreamReset, stream).error_code))


def tunnel(port):
    client = Client(port)
    print(client.status(tunnel_request(client, "/", ("sec-websocket-key", "mine"))))


def silent_tunnel(port):
    client = Client(port)
    stream = tunnel_request(client)
    print(client.status(stream), "reset", int(client.until(StreamReset, stream).error_code))


def ended_tunnel(port):
    client = Client(port)
    stream = tunnel_request(client)
    status = client.status(stream)
    client.h2.end_stream(stream)
    client.flush()
    client.until(StreamEnded, stream)
    print(status, "ended")


def plain_connect(port):
    client = Client(port, outbound_checks=False)
    stream = client.request([(":method", "CONNECT"), (":authority", "h.example:443")], ends=False)
    print(client.status(stream))


def truncated(port):
    """The upstream ends in the middle of its answer."""
    client = Client(port)
    stream = client.request(client.headers())
    status = client.status(stream)
    reset = client.until(StreamReset, stream)
    other = client.request(client.headers("GET", "/again"))
    print(status, "reset", int(reset.error_code), "then", client.status(other))


def trailers(port):
    client = Client(port)
    stream = client.request(client.headers("GET", "/", ("te", "trailers")))
    hints = dict(client.until(InformationalResponseReceived, stream).headers)
    status = client.status(stream)
    fields = sorted(k.decode() for k, _ in client.until(TrailersReceived, stream).headers)
    print(hints[b":status"].decode(), status, ",".join(fields))


def no_tunnel(port):
    """A server that answers an upgrade with a page has opened no tunnel."""
    client = Client(port)
    print(client.status(tunnel_request(client)))


def first_flight(port):
    """More streams than are allowed, before our settings can be known: those above are refused, the rest served."""
    client = Client(port)
    for _ in range(400):
        client.h2.send_headers(
            client.h2.get_next_available_stream_id(), client.headers("GET", "/closed"),
            end_stream=True)
    client.flush()
    while client.receive():
        ended = [e for e in client.events if isinstance(e, (StreamEnded, StreamReset))]
        if len(ended) == 400 or any(isinstance(e, ConnectionTerminated) for e in client.events):
            break
    statuses = [e for e in client.events if isinstance(e, ResponseReceived)]
    refused = [e for e in client.events if isinstance(e, StreamReset) and int(e.error_code) == 7]
    print(len(statuses), len(refused))


def broken_answer(port):
    """A fault that comes with the head is told; one behind it cuts the answer."""
    client = Client(port)
    print(client.status(client.request(client.headers("GET", "/broken"))))


def deaf_to_goaway(port):
    """Takes no notice of the announcement of the end, nor of the PING behind it."""
    client = Client(port)
    kept = client.request(client.headers("POST", "/", ("content-length", "9")), ends=False)
    print("open", flush=True)
    # Frame by frame: the library would answer the PING, and takes no more after the first GOAWAY.
    last, data = 0, b""
    while last != kept:
        piece = client.socket.recv(65536)
        if not piece:
            break
        data += piece
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            size = int.from_bytes(data[:3], "big")
            if data[3] == 7:
                last = int.from_bytes(data[9:13], "big")
            data = data[9 + size:]
    print("last", last)


def request_trailers(port):
    client = Client(port)
    statuses = []
    for kind in ("text/plain", "application/grpc"):
        stream = client.request(
            client.headers("POST", "/x", ("content-type", kind), ("te", "trailers")), ends=False)
        client.h2.send_data(stream, b"abc")
        client.h2.send_headers(
            stream, [("x-sum", "7"), ("x-auth-client", "forged"), ("x-last", "8")],
            end_stream=True)
        client.flush()
        statuses.append(client.status(stream))
    print(*statuses)


def window(port):
    """A stream whose window stays shut must not hold up its neighbour, nor be read on for."""
    client = Client(port, window=1000)
    stuck = client.request(client.headers("GET", "/big"))
    client.status(stuck, acknowledge=False)
    got = len(client.until(DataReceived, stuck, acknowledge=False).data)
    other = client.request(client.headers("GET", "/small"))
    status = client.status(other, acknowledge=False)
    print(got, status, len(client.body(other, acknowledge=False)))
    sys.stdout.flush()
    while client.receive(acknowledge=False) is not None:
        pass


def narrow(port):
    """Takes a large answer through a window of 1000 bytes, which moves some thousand times: slow, and no flood."""
    client = Client(port, window=1000)
    stream = client.request(client.headers("GET", "/big"))
    print(client.status(stream), len(client.body(stream)))


def slow_body(port):
    client = Client(port)
    stream = client.request(client.headers("POST"), ends=False)
    status = client.status(stream)
    client.until(StreamEnded, stream)
    print(status)


def idle(port):
    client = Client(port)
    client.status(client.request(client.headers()))
    gone = client.until(ConnectionTerminated)
    print(int(gone.error_code), client.receive())


def silent(port):
    """Half a preface, and no more."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    while client.recv(4096):
        pass
    print("ended")


def malformed(port):
    client = Client(port, outbound_checks=False)
    stream = client.request(client.headers("GET", "/", ("X-Upper", "1")))
    print(int(client.until(StreamReset, stream).error_code))


def cancelled_uploads(port):
    """Uploads that a slow upstream holds up and the client gives up: the connection's window comes back each time."""
    client = Client(port)
    for _ in range(20):
        stream = client.request(client.headers("POST", "/held"), ends=False)
        left = 60000
        while left:
            room = min(client.h2.local_flow_control_window(stream), 16384, left)
            if not room:
                client.receive()
                continue
            client.h2.send_data(stream, bytes(room))
            client.flush()
            left -= room
        # By the answer the gateway has seen it all, and has begun to connect.
        client.h2.ping(b"whatever")
        client.flush()
        client.until(PingAckReceived)
        client.h2.reset_stream(stream, 8)
        client.flush()
    print(client.status(client.request(client.headers())))


def keepalive(port):
    """A client that waits for an answer and gives signs of life, and one that has vanished."""
    alive, gone = Client(port), Client(port)
    stream = alive.request(alive.headers())
    gone.request(gone.headers())
    for _ in range(3):
        alive.until(PingReceived)
    # Whoever listens to nobody is given up; the other goes on.
    try:
        while gone.socket.recv(65536):
            pass
    except ConnectionResetError:
        pass
    alive.h2.reset_stream(stream, 8)
    alive.flush()
    print(alive.status(alive.request(alive.headers("GET", "/missing"))))


def grpc(port):
    client = Client(port)
    stream = client.request(
        client.headers("POST", "/closed", ("content-type", "application/grpc+proto"),
                       ("te", "trailers")), ends=False)
    head = dict(client.until(ResponseReceived, stream).headers)
    client.until(StreamEnded, stream)
    print(head[b":status"].decode(), head[b"content-type"].decode(),
          head[b"grpc-status"].decode(), head[b"grpc-message"].decode())


def open_call(port):
    """A call whose client says one thing and no more."""
    client = Client(port)
    stream = client.request(
        client.headers("POST", sys.argv[3] if len(sys.argv) > 3 else "/call",
                       ("content-type", "application/grpc"), ("te", "trailers")), ends=False)
    client.h2.send_data(stream, b"\0\0\0\0\1x")
    client.flush()
    print("sent", flush=True)
    head = dict(client.until(ResponseReceived, stream).headers)
    print(head[b":status"].decode(), head[b"grpc-status"].decode(), flush=True)


def events(port):
    """Reads what comes on a stream that has no end of its own, and takes all of it at once."""
    client = Client(port)
    stream = client.request(client.headers("GET", "/events", ("authorization", sys.argv[3])))
    status = client.status(stream)
    data = client.until(DataReceived, stream).data
    print(status, data.decode().strip(), flush=True)
    print("reset", int(client.until(StreamReset, stream).error_code), flush=True)


def expect(port):
    client = Client(port)
    stream = client.request(
        client.headers("POST", "/", ("expect", "100-continue"), ("content-length", "3")),
        ends=False)
    interim = dict(client.until(InformationalResponseReceived, stream).headers)
    client.h2.send_data(stream, b"abc", end_stream=True)
    client.flush()
    print(interim[b":status"].decode(), client.status(stream))


def cookies(port):
    client = Client(port)
    stream = client.request(
        client.headers("GET", "/", ("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")))
    print(client.status(stream))


globals()[sys.argv[1]](int(sys.argv[2]))
