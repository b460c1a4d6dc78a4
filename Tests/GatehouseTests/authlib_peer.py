"""An authorization server on Authlib, or clients that get tokens there and use them at the gateway.

    authlib_peer.py serve                       prints its port; POST /rotate changes the key at once, POST /announce publishes
                                                the next one first, which then signs from the next /rotate on
    authlib_peer.py serve opaque                the same with tokens that only POST /introspect (RFC 7662) can tell, for the
                                                client "gate" alone; POST /revoke (RFC 7009) ends one
    authlib_peer.py clients ISSUER GATEWAY N    N clients until SIGTERM; prints what they were answered
"""
import collections
import json
import os
import signal
import sys
import threading
import time
import uuid

import requests


def serve(kind="jwt"):
    # Loopback, in clear.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    from authlib.integrations.flask_oauth2 import AuthorizationServer
    from authlib.jose import JsonWebKey, jwt
    from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
    from authlib.oauth2.rfc7009 import RevocationEndpoint
    from authlib.oauth2.rfc7662 import IntrospectionEndpoint
    from flask import Flask, jsonify
    from werkzeug.serving import make_server

    keys = []
    signing = [None]
    lock = threading.Lock()

    def make():
        while True:
            key = JsonWebKey.generate_key("EC", "P-256", {"use": "sig", "alg": "ES256"}, is_private=True)
            public = key.as_dict(is_private=False)
            # Authlib leaves leading zeros out, which RFC 7518 section 6.2.1.2 forbids: one key in 128 is none.
            if len(public["x"]) == len(public["y"]) == 43:
                break
        key = JsonWebKey.import_key({**key.as_dict(is_private=True), "kid": "key-%d" % len(keys), "alg": "ES256"})
        keys.append(key)
        return key

    signing[0] = make()

    secrets = {"robot": "s3cret", "gate": "g4te-secret"}

    class Client(ClientMixin):
        def __init__(self, id):
            self.id = id

        def get_client_id(self):
            return self.id

        def check_client_secret(self, secret):
            return secret == secrets[self.id]

        def check_endpoint_auth_method(self, method, endpoint):
            return method == "client_secret_basic"

        def check_grant_type(self, grant_type):
            return self.id == "robot" and grant_type == "client_credentials"

        def get_allowed_scope(self, scope):
            return "read"

    tokens = {}

    class Token(TokenMixin):
        def __init__(self, scope, lifetime):
            self.scope = scope
            self.expires_at = int(time.time()) + lifetime
            self.revoked = False

        def check_client(self, client):
            return client.get_client_id() == "robot"

        def is_expired(self):
            return self.expires_at <= time.time()

        def is_revoked(self):
            return self.revoked

    class Introspection(IntrospectionEndpoint):
        def check_permission(self, token, client, request):
            return client.get_client_id() == "gate"

        def query_token(self, text, hint):
            return tokens.get(text)

        def introspect_token(self, token):
            return {"active": True, "client_id": "robot", "sub": "robot", "token_type": "Bearer", "scope": token.scope,
                    "aud": "api", "iss": issuer, "exp": token.expires_at, "iat": token.expires_at - 300}

    class Revocation(RevocationEndpoint):
        def query_token(self, text, hint):
            return tokens.get(text)

        def revoke_token(self, token, request):
            token.revoked = True

    def save_token(token, request):
        if kind == "opaque":
            tokens[token["access_token"]] = Token(token["scope"], token["expires_in"])

    app = Flask("issuer")
    server = AuthorizationServer(app, query_client=lambda id: Client(id) if id in secrets else None, save_token=save_token)
    server.register_grant(grants.ClientCredentialsGrant)
    server.register_endpoint(Introspection)
    server.register_endpoint(Revocation)
    listener = make_server("127.0.0.1", 0, app, threaded=True)
    issuer = "http://127.0.0.1:%d" % listener.port

    def make_token(grant_type, client, user=None, scope=None, **_):
        if kind == "opaque":
            return {"access_token": uuid.uuid4().hex, "token_type": "Bearer", "expires_in": 300, "scope": "read"}
        with lock:
            key = signing[0]
        now = int(time.time())
        claims = {"iss": issuer, "aud": "api", "sub": "robot", "client_id": "robot", "scope": "read", "iat": now,
                  "exp": now + 300, "jti": uuid.uuid4().hex}
        header = {"alg": "ES256", "typ": "at+jwt", "kid": key.as_dict()["kid"]}
        return {"access_token": jwt.encode(header, claims, key).decode(), "token_type": "Bearer", "expires_in": 300}

    server.register_token_generator("default", make_token)

    @app.post("/token")
    def token():
        return server.create_token_response()

    @app.post("/introspect")
    def introspect():
        return server.create_endpoint_response(Introspection.ENDPOINT_NAME)

    @app.post("/revoke")
    def revoke():
        return server.create_endpoint_response(Revocation.ENDPOINT_NAME)

    @app.get("/jwks")
    def jwks():
        with lock:
            return jsonify({"keys": [key.as_dict(is_private=False) for key in keys]})

    @app.get("/.well-known/oauth-authorization-server")
    def metadata():
        return jsonify({"issuer": issuer, "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/jwks"})

    @app.post("/announce")
    def announce():
        with lock:
            make()
        return ""

    @app.post("/rotate")
    def rotate():
        with lock:
            signing[0] = keys[-1] if keys[-1] is not signing[0] else make()
        return ""

    print(listener.port, flush=True)
    listener.serve_forever()


def clients(issuer, gateway, count):
    seen = collections.Counter()
    kids = set()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    lock = threading.Lock()

    def work():
        session = requests.Session()
        while not ended.is_set():
            answer = session.post(issuer + "/token", auth=("robot", "s3cret"), timeout=20,
                                  data={"grant_type": "client_credentials", "scope": "read"})
            token = answer.json()["access_token"]
            for _ in range(3):
                status = session.get(gateway, headers={"Authorization": "Bearer " + token}, timeout=20).status_code
                with lock:
                    seen[status] += 1
                    kids.add(token.split(".")[0])
            time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    print("begun", flush=True)
    ended.wait()
    for thread in threads:
        thread.join()
    print(json.dumps({"statuses": {str(k): v for k, v in seen.items()}, "keys": len(kids)}), flush=True)


if sys.argv[1] == "serve":
    serve(*sys.argv[2:])
else:
    clients(*sys.argv[2:])
