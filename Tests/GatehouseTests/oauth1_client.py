"""Calls a URL once with an unmodified OAuth 1.0 client library and prints the status.

usage: oauth1_client.py LIBRARY KEY SECRET METHOD PLACE HTTP_METHOD URL [BODY] [CONTENT_TYPE]
LIBRARY: requests-oauthlib or authlib; PLACE: header, query or body; METHOD: HMAC-SHA1, HMAC-SHA256, RSA-SHA1, RSA-SHA256,
where SECRET is then the path of a private key.
"""
import os
import sys

import requests

# Authlib signs for http only when told so; the traffic of this test stays on loopback.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

library, key, secret, method, place, verb, url = sys.argv[1:8]
body = sys.argv[8] if len(sys.argv) > 8 else None
content_type = sys.argv[9] if len(sys.argv) > 9 else None
place = {"header": "AUTH_HEADER", "query": "QUERY", "body": "BODY"}[place]
rsa_key = open(secret).read() if method.startswith("RSA") else None
if library == "requests-oauthlib":
    from requests_oauthlib import OAuth1

    auth = OAuth1(key, None if rsa_key else secret, signature_method=method, signature_type=place, rsa_key=rsa_key)
else:
    from authlib.integrations.requests_client import OAuth1Auth

    place = {"AUTH_HEADER": "HEADER", "QUERY": "QUERY", "BODY": "BODY"}[place]
    auth = OAuth1Auth(key, None if rsa_key else secret, signature_method=method, signature_type=place, rsa_key=rsa_key)
headers = {"Content-Type": content_type} if content_type else {}
answer = requests.request(verb, url, data=body, headers=headers, auth=auth, timeout=10)
print(answer.status_code, answer.text)
