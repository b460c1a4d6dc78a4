"""An upstream that speaks HTTP/2 and does what a path asks for. Prints its port; logs the requests it saw, a line each.

    http2_upstream.py [--tls CERT KEY] [--alpn PROTO] [--streams N] [--first-streams N]

Of streams, the first frame says 100 unless told otherwise, and --streams comes in a second one.
"""
import json
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes, Settings

ARGUMENTS = sys.argv[1:]
connections = 0
lock = threading.Lock()


def option(name, count=1):
    if name not in ARGUMENTS:
        return None
    at = ARGUMENTS.index(name)
    return ARGUMENTS[at + 1:at + 1 + count]


class Upstream:
    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        # What the tests send on purpose must not be set right.
        config = h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.decoder.max_header_list_size = 1 << 20
        self.requests, self.bodies, self.waiting = {}, {}, {}
        self.served = 0
        self.is_mute = False
        self.gathered = []

    def run(self):
        if option("--first-streams"):
            limit = int(option("--first-streams")[0])
            self.h2.local_settings = Settings(False, {SettingCodes.MAX_CONCURRENT_STREAMS: limit})
            self.log("begun", 0)
        self.h2.initiate_connection()
        if option("--streams"):
            self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: int(option("--streams")[0])})
        self.flush()
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            if self.is_mute:
                continue
            try:
                events = self.h2.receive_data(data)
            except h2.exceptions.TooManyStreamsError:
                self.sock.close()
                return
            for event in events:
                if not self.take(event):
                    self.sock.close()
                    return
            try:
                self.flush()
            except OSError:
                return

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = dict(event.headers)
            self.bodies[event.stream_id] = 0
            if self.requests[event.stream_id][":path"].startswith("/early"):
                return self.answer(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, 0) + len(event.data)
            path = self.requests[event.stream_id][":path"]
            if not path.startswith("/stall") and not path.endswith("stall"):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            if not self.requests[event.stream_id][":path"].startswith("/early"):
                return self.answer(event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.log("trailers", event.stream_id, fields=event.headers)
        elif isinstance(event, h2.events.StreamReset):
            self.log("reset", event.stream_id, code=int(event.error_code))
            self.waiting.pop(event.stream_id, None)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in list(self.waiting):
                self.pour(stream)
        return True

    def log(self, what, stream, **facts):
        request = self.requests.get(stream, {})
        with lock:
            print(json.dumps({"what": what, "connection": self.number, "stream": stream, "path": request.get(":path"),
                "request": request, "body": self.bodies.get(stream), **facts}), flush=True)

    def send(self, stream, status=200, fields=(), body=b"", end=True):
        self.h2.send_headers(stream, [(":status", str(status)), *fields], end_stream=end and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=end)

    def pour(self, stream):
        """As much of a long body as the window lets go."""
        while self.waiting[stream]:
            room = min(self.h2.local_flow_control_window(stream), 16384)
            if room <= 0:
                return
            piece, self.waiting[stream] = self.waiting[stream][:room], self.waiting[stream][room:]
            self.h2.send_data(stream, piece, end_stream=not self.waiting[stream])
        del self.waiting[stream]

    def answer(self, stream):
        self.served += 1
        path = self.requests[stream][":path"].split("?")[0]
        self.log("request", stream)
        name = path.rsplit("/", 1)[-1]
        first = self.served == 1
        if name == "close-second" and not first:
            return False
        if name == "close-first-connection" and self.number == 0:
            return False
        if name == "refuse-once" and first and self.number == 0:
            self.h2.reset_stream(stream, 7)
        elif name == "refuse":
            self.h2.reset_stream(stream, 7)
        elif name == "goaway" and self.number == 0:
            # Nothing of this one was done; what came before it was.
            self.h2.close_connection(0, last_stream_id=max(stream - 2, 0))
        elif name == "polite":
            self.send(stream, body=b"bye")
            self.h2.close_connection(0, last_stream_id=stream)
        elif name == "reset":
            self.h2.reset_stream(stream, 2)
        elif name == "cut":
            self.send(stream, fields=[("content-length", "100")], body=b"only this", end=False)
            self.flush()
            self.h2.reset_stream(stream, 2)
        elif name == "drop":
            self.send(stream, body=b"only this", end=False)
            self.flush()
            return False
        elif name == "short":
            self.send(stream, fields=[("content-length", "100")], body=b"short")
        elif name == "upper":
            self.send(stream, fields=[("X-Upper", "a")], body=b"x")
        elif name == "connection":
            self.send(stream, fields=[("connection", "close")], body=b"x")
        elif name == "no-status":
            self.h2.send_headers(stream, [("x", "y")], end_stream=True)
        elif name == "switch":
            self.send(stream, status=101, end=False)
        elif name == "many-interims":
            for _ in range(40):
                self.send(stream, status=103, fields=[("link", "</a>")], end=False)
            self.send(stream, body=b"late")
        elif name == "big-head":
            self.send(stream, fields=[("x-big-%d" % i, "y" * 4000) for i in range(20)], body=b"x")
        elif name == "interim":
            self.send(stream, status=103, fields=[("link", "</a>; rel=preload")], end=False)
            self.send(stream, body=b"final")
        elif name == "trailers":
            self.h2.send_headers(stream, [(":status", "200"), ("trailer", "x-sum")])
            self.h2.send_data(stream, b"content")
            self.h2.send_headers(stream, [("x-sum", "7"), ("x-auth-client", "forged")], end_stream=True)
        elif name == "no-content":
            self.send(stream, status=204)
        elif name == "empty":
            self.send(stream)
        elif name == "silent":
            pass
        elif name == "mute":
            self.is_mute = True
        elif name == "big":
            self.h2.send_headers(stream, [(":status", "200")])
            query = self.requests[stream][":path"].partition("?")[2]
            self.waiting[stream] = b"z" * int(query or 3_000_000)
            self.pour(stream)
        elif name == "early" or name == "early-stall":
            self.send(stream, status=413, body=b"too much")
        elif name == "interim-drop":
            self.send(stream, status=103, fields=[("link", "</a>")], end=False)
            self.flush()
            return False
        elif name == "lose" and self.number == 0:
            self.gathered.append(stream)
            return len(self.gathered) < int(self.requests[stream][":path"].split("?")[1])
        elif name == "gather":
            # Answers when so many wait at once.
            self.gathered.append(stream)
            if len(self.gathered) == int(self.requests[stream][":path"].split("?")[1]):
                for waiting in self.gathered:
                    self.send(waiting, body=b"%d on %d" % (len(self.gathered), self.number))
                self.gathered = []
        else:
            self.send(stream, fields=[("x-connection", str(self.number)), ("set-cookie", "a=b"), ("set-cookie", "c=d")],
                body=json.dumps(self.requests[stream]).encode())
        return True


def main():
    global connections
    listener = socket.create_server(("127.0.0.1", 0))
    files = option("--tls", 2)
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
        context.set_alpn_protocols(option("--alpn") or ["h2"])
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        number, connections = connections, connections + 1

        def serve(sock=sock, number=number):
            try:
                if context:
                    sock = context.wrap_socket(sock, server_side=True)
                Upstream(sock, number).run()
            except OSError:
                pass
        threading.Thread(target=serve, daemon=True).start()


main()
