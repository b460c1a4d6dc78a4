"""One GET signed by requests-oauthlib: the body, then the status on a line of its own.

--sign URL signs another URL than the one that is called (a mistake to show); --save FILE keeps the request as it
went over the wire.
"""
import argparse
from urllib.parse import urlsplit

import requests
from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1Session

parser = argparse.ArgumentParser()
parser.add_argument("consumer")
parser.add_argument("secret_file")
parser.add_argument("url")
parser.add_argument("--sign")
parser.add_argument("--save")
arguments = parser.parse_args()
with open(arguments.secret_file, encoding="utf-8") as file:
    secret = file.read().strip()

if arguments.sign:
    _, headers, _ = Client(arguments.consumer, client_secret=secret).sign(arguments.sign)
    reply = requests.get(arguments.url, headers=headers, timeout=10)
else:
    reply = OAuth1Session(arguments.consumer, client_secret=secret).get(arguments.url, timeout=10)

if arguments.save:
    sent = reply.request
    headers = {"Host": urlsplit(sent.url).netloc, **sent.headers}
    with open(arguments.save, "w", encoding="latin-1", newline="") as file:
        file.write(f"{sent.method} {sent.path_url} HTTP/1.1\r\n")
        for name, value in headers.items():
            value = value.decode("latin-1") if isinstance(value, bytes) else value
            name = name.decode("latin-1") if isinstance(name, bytes) else name
            file.write(f"{name}: {value}\r\n")
        file.write("\r\n")

print(reply.text.rstrip("\n"))
print(reply.status_code)
