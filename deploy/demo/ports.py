"""Prints that many TCP ports of 127.0.0.1 that are free now."""
import socket
import sys

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(listener.getsockname()[1] for listener in sockets))
