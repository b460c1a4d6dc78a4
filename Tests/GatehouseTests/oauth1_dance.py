"""The two-legged dance by an unmodified client library, step by step.

    oauth1_dance.py LIBRARY BASE_URL KEY SECRET CALLBACK    prints a line for each step
CALLBACK: oob, or - for none.
"""
import os
import sys

import requests

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
library, base, key, secret, callback = sys.argv[1:6]
callback = None if callback == "-" else callback
if library == "requests-oauthlib":
    from requests_oauthlib import OAuth1Session

    first = OAuth1Session(key, client_secret=secret, callback_uri=callback)
    temporary = first.fetch_request_token(base + "/oauth1/request_token")

    def session(token, verifier=None):
        return OAuth1Session(
            key, client_secret=secret, resource_owner_key=token["oauth_token"],
            resource_owner_secret=token["oauth_token_secret"], verifier=verifier)
else:
    from authlib.integrations.requests_client import OAuth1Session

    first = OAuth1Session(key, secret, redirect_uri=callback)
    temporary = first.fetch_request_token(base + "/oauth1/request_token")

    def session(token, verifier=None):
        return OAuth1Session(
            key, secret, token=token["oauth_token"], token_secret=token["oauth_token_secret"],
            verifier=verifier)

print("temporary", sorted(temporary))
access = session(temporary, "any").fetch_access_token(base + "/oauth1/access_token")
print("access", sorted(access))
answer = session(access).get(base + "/items?a=1", timeout=10)
print("resource", answer.status_code, answer.text.replace("\r\n", "|").strip("|"))
# Temporary credentials are good for one exchange, and for nothing else.
try:
    session(temporary, "any").fetch_access_token(base + "/oauth1/access_token")
    print("again OK")
except Exception as error:
    print("again", type(error).__name__)
print("misused", session(temporary).get(base + "/items", timeout=10).status_code)
print("swapped", session({**access, "oauth_token_secret": "x"}).get(base + "/items", timeout=10).status_code)
