"""A gRPC server, or calls to one through the gateway (grpcio; messages are plain bytes).

    grpc_peer.py serve [CERT KEY]       prints its port
    grpc_peer.py PORT TOKEN [CA]        prints a line for each call
    grpc_peer.py wait PORT PATH SECONDS [TOKEN]     sends one message of many, and prints how the call ends
    grpc_peer.py listen PORT PATH SECONDS TOKEN     prints the messages that come, and how the call ends
"""
import sys
import threading
import time
from concurrent import futures

import grpc


def same(message):
    return message


class Service(grpc.GenericRpcHandler):
    def service(self, call):
        kind, function = {
            "Unary": (grpc.unary_unary_rpc_method_handler, self.unary),
            "Down": (grpc.unary_stream_rpc_method_handler, self.down),
            "Up": (grpc.stream_unary_rpc_method_handler, self.up),
            "Hear": (grpc.stream_unary_rpc_method_handler, self.hear),
            "Both": (grpc.stream_stream_rpc_method_handler, self.both),
            "Slow": (grpc.unary_unary_rpc_method_handler, self.slow),
            "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
            "Drip": (grpc.unary_stream_rpc_method_handler, self.drip),
            "Watch": (grpc.stream_stream_rpc_method_handler, self.watch),
        }[call.method.split("/")[-1]]
        return kind(function, same, same)

    def unary(self, request, context):
        left = context.time_remaining()
        client = dict(context.invocation_metadata()).get("x-auth-client", "nobody")
        context.set_trailing_metadata((("x-trailer", "t"), ("x-client", client),
            ("x-deadline", "yes" if left is not None and left < 20 else "no")))
        return request.upper()

    def down(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def up(self, requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def hear(self, requests, context):
        """Says nothing before the client's end, as is usual where there is one answer to many messages."""
        print("hears", next(requests).decode(), flush=True)
        return b"%d" % sum(len(request) for request in requests)

    def both(self, requests, context):
        for request in requests:
            yield request[::-1]

    def slow(self, request, context):
        for _ in range(100):
            if not context.is_active():
                return b""
            time.sleep(0.05)
        return request

    def watch(self, requests, context):
        """Says that it is there, and nothing more while the client is."""
        print("hears", next(requests).decode(), flush=True)
        yield b"watching"
        for request in requests:
            yield request

    def drip(self, request, context):
        """Says two things, and nothing more while the client is there."""
        yield b"one"
        yield b"two"
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(60)

    def fail(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def serve(files):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Service(),))
    if files:
        certificate, key = (open(name, "rb").read() for name in files)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def call(port, token, authority):
    if authority:
        credentials = grpc.ssl_channel_credentials(open(authority, "rb").read())
        channel = grpc.secure_channel("localhost:" + port, credentials)
    else:
        channel = grpc.insecure_channel("127.0.0.1:" + port)
    with_token = (("authorization", "Bearer " + token),)

    def method(kind, name):
        return getattr(channel, kind)("/service/" + name, same, same)

    def refusal(name, function, **arguments):
        try:
            function(**arguments)
            print(name, "OK")
        except grpc.RpcError as error:
            print(name, error.code().name, error.details().split(":")[0])

    unary = method("unary_unary", "Unary")
    answer, facts = unary.with_call(b"hello", timeout=10, metadata=with_token)
    trailers = dict(facts.trailing_metadata())
    print("unary", answer.decode(), trailers["x-trailer"], trailers["x-client"], trailers["x-deadline"])
    down = list(method("unary_stream", "Down")(b"5000", timeout=10, metadata=with_token))
    print("down", len(down), down[-1].decode())
    up = method("stream_unary", "Up")(iter([b"x" * 60000] * 100), timeout=20, metadata=with_token)
    print("up", up.decode())

    # Each answer is awaited before the next request: neither side may wait for the other's end.
    answers = []
    def one_by_one():
        for index, text in enumerate([b"abc", b"def", b"ghi"]):
            while len(answers) < index:
                time.sleep(0.005)
            yield text
    for answer in method("stream_stream", "Both")(one_by_one(), timeout=10, metadata=with_token):
        answers.append(answer)
    print("both", b" ".join(answers).decode())
    # Both sides are silent for longer than a body may be.
    waiting = threading.Event()

    def silent():
        yield b"begin"
        waiting.wait()

    watch = method("stream_stream", "Watch")(silent(), timeout=2.5, metadata=with_token)
    print("watch", next(watch).decode(), end=" ")
    refusal("ends", lambda: list(watch))
    waiting.set()
    refusal("slow", method("unary_unary", "Slow"), request=b"x", timeout=0.3, metadata=with_token)
    refusal("fail", method("unary_unary", "Fail"), request=b"x", timeout=10, metadata=with_token)
    refusal("none", unary, request=b"x", timeout=10)
    refusal("wrong", unary, request=b"x", timeout=10, metadata=(("authorization", "Bearer x"),))
    for name in ("scoped", "away", "limited", "limited"):
        other = channel.unary_unary("/%s/Unary" % name, same, same)
        refusal(name, other, request=b"x", timeout=10, metadata=with_token)


def wait(port, path, seconds, token=None):
    ended = threading.Event()

    def messages():
        yield b"first"
        ended.wait(60)

    channel = grpc.insecure_channel("127.0.0.1:" + port)
    metadata = (("authorization", "Bearer " + token),) if token else ()
    try:
        list(channel.stream_stream(path, same, same)(messages(), timeout=float(seconds), metadata=metadata))
        print("OK")
    except grpc.RpcError as error:
        print(error.code().name, error.details().split(":")[0])
    ended.set()


def listen(port, path, seconds, token):
    channel = grpc.insecure_channel("127.0.0.1:" + port)
    method = channel.unary_stream(path, same, same)
    try:
        metadata = (("authorization", "Bearer " + token),)
        for message in method(b"x", timeout=float(seconds), metadata=metadata):
            print(message.decode(), flush=True)
        print("OK")
    except grpc.RpcError as error:
        print(error.code().name, error.details().split(":")[0])


if sys.argv[1] == "serve":
    serve(sys.argv[2:])
elif sys.argv[1] == "wait":
    wait(*sys.argv[2:])
elif sys.argv[1] == "listen":
    listen(*sys.argv[2:])
else:
    call(sys.argv[1], sys.argv[2], (sys.argv[3:] or [None])[0])
