"""An authorization server on Authlib, or clients that get tokens there and use them at the gateway.

    authlib_peer.py serve                       prints its port; POST /rotate changes the key at once, POST /announce publishes
                                                the next one first, which then signs from the next /rotate on
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


def serve():
    # Loopback, in clear.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    from authlib.integrations.flask_oauth2 import AuthorizationServer
    from authlib.jose import JsonWebKey, jwt
    from authlib.oauth2.rfc6749 import ClientMixin, grants
    from flask import Flask, jsonify
    from werkzeug.serving import make_server

    keys = []
    signing = [None]
    lock = threading.Lock()

    def make():
        key = JsonWebKey.generate_key("EC", "P-256", {"use": "sig", "alg": "ES256"}, is_private=True)
        key = JsonWebKey.import_key({**key.as_dict(is_private=True), "kid": "key-%d" % len(keys), "alg": "ES256"})
        keys.append(key)
        return key

    signing[0] = make()

    class Client(ClientMixin):
        def get_client_id(self):
            return "robot"

        def check_client_secret(self, secret):
            return secret == "s3cret"

        def check_endpoint_auth_method(self, method, endpoint):
            return method == "client_secret_basic"

        def check_grant_type(self, grant_type):
            return grant_type == "client_credentials"

        def get_allowed_scope(self, scope):
            return "read"

    app = Flask("issuer")
    server = AuthorizationServer(app, query_client=lambda id: Client() if id == "robot" else None, save_token=lambda *_: None)
    server.register_grant(grants.ClientCredentialsGrant)
    listener = make_server("127.0.0.1", 0, app, threaded=True)
    issuer = "http://127.0.0.1:%d" % listener.port

    def make_token(grant_type, client, user=None, scope=None, **_):
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
    serve()
else:
    clients(*sys.argv[2:])
