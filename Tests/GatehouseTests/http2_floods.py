"""Clients that try to cost a server more than they pay (threats.md, Exhaustion), while another is served.

    http2_floods.py PORT PID [CLEAR_PORT FLOOD...]      prints a line for each flood, then `N passed, N failed`

With TLS_AUTHORITY the floods come over TLS, and the bystander by the port that is in clear.

A flood is bounded in frames and time. It passes when the connection is ended (or, where nothing is wrong with it, held
up), the server's memory grew by less than 64 MB, and the bystander was answered all the while and afterwards.
"""
import socket
import sys
import threading
import time

from http2_frames import (
    ACK, AUTHORITY, CONTINUATION, DATA, END_HEADERS, GET, GOAWAY, HEADERS, PADDED, PING, POST, PREFACE,
    PRIORITY, RST, SETTINGS, WINDOW, Connection, frame, headers, raw, settings,
)

SECONDS = 5
GROWTH_KB = 64 << 10


def memory(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


class Bystander(threading.Thread):
    """One request after another on a connection of its own; keeps the slowest of the answers."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.slowest = 0.0
        self.answers = 0
        self.failures = 0
        self.stopped = threading.Event()

    def measure(self, answers):
        """The slowest of so many answers from now on, in seconds; `None` when they do not come in time."""
        self.slowest, goal, until = 0.0, self.answers + answers, time.monotonic() + 5
        while self.answers < goal:
            if self.failures or time.monotonic() > until:
                return None
            time.sleep(0.005)
        return self.slowest

    def run(self):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        while not self.stopped.wait(0.002):
            begun = time.monotonic()
            try:
                client.sendall(b"GET / HTTP/1.1\r\nHost: h.example\r\n\r\n")
                answer = b""
                while b"\r\n\r\nok" not in answer:
                    more = client.recv(4096)
                    if not more:
                        raise OSError("ended")
                    answer += more
            except OSError:
                self.failures += 1
                return
            self.answers += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)


def one_stream_after_another(frames):
    stream = 1
    while True:
        yield frames(stream)
        stream += 2


def rapid_reset():
    return one_stream_after_another(
        lambda i: headers(stream=i) + frame(RST, 0, i, b"\0\0\0\x08"))


def made_you_reset():
    return one_stream_after_another(
        lambda i: headers(stream=i) + frame(WINDOW, 0, i, b"\0\0\0\0"))


def made_you_reset_by_overflow():
    return one_stream_after_another(
        lambda i: headers(stream=i) + frame(WINDOW, 0, i, b"\x7f\xff\xff\xff"))


def made_you_reset_by_data():
    return one_stream_after_another(lambda i: headers(stream=i) + frame(DATA, 0, i, b"x"))


def malformed_requests():
    return one_stream_after_another(lambda i: headers(GET + [("X", "y")], stream=i))


def continuation_endless():
    yield frame(HEADERS, 1, 1, raw(GET))
    while True:
        yield frame(CONTINUATION, 0, 1, raw([("x", "y" * 1000)]))


def continuation_empty():
    yield frame(HEADERS, 1, 1, raw(GET))
    while True:
        yield frame(CONTINUATION, 0, 1, b"")


def continuation_byte_by_byte():
    yield frame(HEADERS, 1, 1, b"")
    while True:
        for byte in raw(GET):
            yield frame(CONTINUATION, 0, 1, bytes([byte]))


def hpack_bomb():
    """One large field in the table, then named again and again."""
    big = b"\x40\x01x" + b"\x7f" + b"\xa1\x1e" + b"y" * 4000
    stream = 1
    yield frame(HEADERS, 5, stream, raw(GET) + big)
    while True:
        stream += 2
        yield frame(HEADERS, 5, stream, raw(GET) + b"\xbe" * 16000)


def crumbs():
    stream = 1
    while True:
        yield frame(HEADERS, 1, stream, raw(GET)) + b"".join(
            frame(CONTINUATION, 4 if i == 6 else 0, stream, raw([("cookie", "a")]) * 1400)
            for i in range(7))
        stream += 2


def many_fields():
    stream = 1
    while True:
        yield frame(HEADERS, 5, stream, raw(GET) + raw([("a", "")]) * 3000)
        stream += 2


def pings():
    while True:
        yield frame(PING, 0, 0, b"12345678") * 100


def setting_after_setting():
    while True:
        yield settings((4, 65535)) * 100


def settings_acks():
    while True:
        yield frame(SETTINGS, ACK, 0, b"") * 100


def priorities():
    while True:
        yield b"".join(frame(PRIORITY, 0, i, b"\0\0\0\0\x10") for i in range(1, 200, 2))


def resets_of_nothing():
    yield headers(POST, 1, END_HEADERS)
    while True:
        yield frame(RST, 0, 1, b"\0\0\0\x08") * 100


def empty_data():
    yield headers(POST, 1, END_HEADERS)
    while True:
        yield frame(DATA, 0, 1, b"") * 100


def data_on_a_refused_stream():
    yield headers(POST + [("content-length", "20000000")], 1, END_HEADERS)
    # The flood begins behind the reset, on a stream that is no more.
    time.sleep(0.3)
    while True:
        yield frame(DATA, 0, 1, b"") * 100


def padding_alone():
    yield headers(POST, 1, END_HEADERS)
    while True:
        yield frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255) * 20


def window_updates():
    yield headers(POST, 1, END_HEADERS)
    while True:
        yield frame(WINDOW, 0, 1, b"\0\0\0\x01") * 100


def unknown_frames():
    while True:
        yield frame(0x77, 0, 0, b"") * 100


def shut_windows():
    """Asks for much and lets none of it come."""
    yield settings((4, 0))
    for stream in range(1, 250, 2):
        yield headers([(k, "/big" if k == ":path" else v) for k, v in GET], stream=stream)


def one_byte_windows():
    yield settings((4, 0))
    for stream in range(1, 250, 2):
        yield headers([(k, "/big" if k == ":path" else v) for k, v in GET], stream=stream)
    for _ in range(9):
        for stream in range(1, 250, 2):
            yield frame(WINDOW, 0, stream, b"\0\0\0\x01")


def unread_socket():
    """The windows are wide, and nothing is read."""
    yield settings((4, 0x7FFFFFFF)) + frame(WINDOW, 0, 0, b"\x7f\xff\x00\x00")
    for stream in range(1, 250, 2):
        yield headers([(k, "/big" if k == ":path" else v) for k, v in GET], stream=stream)


# What is wrong in itself ends the connection; what only waits is held up, and ends by its time-out.
ENDING = [
    rapid_reset, made_you_reset, made_you_reset_by_overflow, made_you_reset_by_data,
    malformed_requests, continuation_endless, continuation_empty, continuation_byte_by_byte,
    pings, setting_after_setting, settings_acks, priorities, resets_of_nothing, empty_data,
    data_on_a_refused_stream, padding_alone, window_updates, unknown_frames, hpack_bomb, crumbs, many_fields,
]
WAITING = [shut_windows, one_byte_windows, unread_socket]


def attack(port, flood, reads):
    """Sends the flood until the connection ends or the time is over; what came of it, and how much was sent."""
    connection = Connection(port)
    connection.socket.settimeout(0.5)
    connection.send(PREFACE + settings())
    sent = 0
    ended = threading.Event()

    def reader():
        try:
            while connection.socket.recv(65536):
                pass
        except TimeoutError:
            if not ended.is_set():
                return reader()
        except OSError:
            pass
        ended.set()

    if reads:
        threading.Thread(target=reader, daemon=True).start()
    until = time.monotonic() + SECONDS
    for piece in flood():
        if time.monotonic() > until or ended.is_set():
            break
        try:
            connection.socket.sendall(piece)
        except TimeoutError:
            break
        except OSError:
            ended.set()
            break
        sent += len(piece)
    ended.wait(1 if reads else 0.5)
    return connection, ended.is_set(), sent


def main(port, pid, clear_port=None, *names):
    passed = failed = 0
    for flood in ENDING + WAITING:
        if names and flood.__name__ not in names:
            continue
        before = memory(pid)
        bystander = Bystander(int(clear_port or port))
        bystander.start()
        calm = bystander.measure(20)
        bystander.slowest = 0.0
        # A connection of TLS is one thread's.
        connection, ended, sent = attack(port, flood, flood is not unread_socket and not AUTHORITY)
        peak = memory(pid)
        storm = bystander.slowest
        connection.socket.close()
        after = bystander.measure(20)
        answers = bystander.answers
        bystander.stopped.set()
        bystander.join()
        good = (
            bystander.failures == 0 and calm is not None and after is not None and peak - before < GROWTH_KB
            and (ended or flood not in ENDING))
        passed += good
        failed += not good
        print(
            f"{'ok  ' if good else 'FAIL'} {flood.__name__}: {'ended' if ended else 'held up'} after"
            f" {sent} bytes, memory {before} kB + {peak - before}, bystander {(calm or 9) * 1000:.1f} ms before,"
            f" {storm * 1000:.1f} ms at most during, {(after or 9) * 1000:.1f} ms after, {answers} answers", flush=True)
    print(f"{passed} passed, {failed} failed")


main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
