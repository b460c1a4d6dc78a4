"""An upstream of HTTP/2 that answers a request with a flood of the kind that its path names. Prints its port.

A flood is bounded in bytes and time, and ends with its connection; when the other side ends it first, that is printed. Of
the paths that name none, /fine is answered, and /held the second time it is asked for.
"""
import socket
import threading
import time

import hpack

from http2_frames import (
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, RST, SETTINGS, WINDOW, ACK, frame, headers, raw, settings,
)

SECONDS = 5
BYTES = 256 << 20
OK = [(":status", "200")]
BIG = b"\x40\x01x" + b"\x7f" + b"\xa1\x1e" + b"y" * 4000


def pings(stream):
    return b"", frame(PING, 0, 0, b"12345678") * 200


def settings_again(stream):
    return b"", settings((4, 65535)) * 200


def acknowledgements(stream):
    return b"", frame(SETTINGS, ACK, 0, b"") * 200


def continuation(stream):
    return frame(HEADERS, 0, stream, raw(OK)), frame(CONTINUATION, 0, stream, raw([("x", "y" * 1000)]))


def continuation_empty(stream):
    return frame(HEADERS, 0, stream, raw(OK)), frame(CONTINUATION, 0, stream, b"") * 200


def hpack_bomb(stream):
    return b"", frame(HEADERS, END_HEADERS, stream, raw(OK) + BIG + b"\xbe" * 12000)


def empty_data(stream):
    return headers(OK, stream, END_HEADERS), frame(DATA, 0, stream, b"") * 200


def resets(stream):
    return b"", frame(RST, 0, stream, b"\0\0\0\x08") * 200


def interims(stream):
    return b"", headers([(":status", "103"), ("link", "</a>")], stream, END_HEADERS) * 10


def window_updates(stream):
    return b"", frame(WINDOW, 0, 0, b"\0\0\0\x01") * 200


def answered(stream):
    return headers(OK, stream)


def late_data(stream):
    return answered(stream), frame(DATA, 0, stream, b"x" * 16384) * 10


def late_empty_data(stream):
    return answered(stream), frame(DATA, 0, stream, b"") * 200


def late_heads(stream):
    return answered(stream), headers(OK, stream, END_HEADERS) * 200


def late_resets(stream):
    return answered(stream), frame(RST, 0, stream, b"\0\0\0\x08") * 200


def late_windows(stream):
    return answered(stream), frame(WINDOW, 0, stream, b"\0\0\0\x01") * 200


def flood(sock, name, stream):
    first, piece = globals()[name](stream)
    until, sent = time.monotonic() + SECONDS, 0
    sock.sendall(first)
    try:
        while time.monotonic() < until and sent < BYTES:
            sock.sendall(piece)
            sent += len(piece)
    except OSError:
        print("cut", name, flush=True)
        raise


held = set()


def plain(sock, name, stream):
    if name == "held" and name not in held:
        held.add(name)
        print("held", flush=True)
    else:
        sock.sendall(answered(stream))


def serve(sock):
    sock.settimeout(SECONDS)
    decoder, buffer = hpack.Decoder(), b""
    try:
        sock.sendall(settings())
        while True:
            data = sock.recv(65536)
            if not data:
                return
            buffer += data
            if buffer.startswith(PREFACE):
                buffer = buffer[len(PREFACE):]
            while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                size = int.from_bytes(buffer[:3], "big")
                kind, stream = buffer[3], int.from_bytes(buffer[5:9], "big")
                payload, buffer = buffer[9:9 + size], buffer[9 + size:]
                if kind == HEADERS:
                    name = dict(decoder.decode(payload))[":path"][1:]
                    if name not in ("fine", "held"):
                        return flood(sock, name, stream)
                    plain(sock, name, stream)
    except OSError:
        pass
    finally:
        sock.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
