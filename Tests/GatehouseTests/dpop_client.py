"""A client of DPoP (RFC 9449) by PyJWT and cryptography, which know nothing of this project.

    dpop_client.py CASE ARGUMENT…        prints a line for each step
    key FILE ALGORITHM                   makes a private key
    proof FILE METHOD URL TOKEN|- COUNT [CHANGES]    CHANGES: JSON of claims; iat is relative to now
    jkt FILE                             the key's thumbprint
    issued FILE CLAIMS                   an access token that the key signs
    echo -                               a WebSocket server, which prints its port
    dance BASE ALGORITHM METHOD [FILE]   a token and what it is good for; METHOD as in token_endpoint_auth_methods_supported
    faults BASE                          each fault of a proof, alone
    token_faults BASE
    assertion BASE FILE                  with require_nonce on
    nonces BASE                          with require_nonce on and nonce_rotation 2s
    http2 BASE · websocket BASE
"""
import base64
import hashlib
import http.client
import json
import sys
import time
import urllib.parse
import uuid

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


# As the metadata of the tests' authority name it.
TOKEN = "https://as.test/oauth2/token"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    def __init__(self, algorithm="ES256", private=None):
        self.algorithm = algorithm
        make = {
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }.get(algorithm, lambda: rsa.generate_private_key(65537, 2048))
        self.private = private or make()

    @property
    def jwk(self):
        public = self.private.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_numbers()
            return {"crv": "P-256", "kty": "EC", "x": number(point.x, 32), "y": number(point.y, 32)}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return {"e": number(numbers.e), "kty": "RSA", "n": number(numbers.n)}
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": b64(raw)}

    @property
    def private_jwk(self):
        numbers = self.private.private_numbers()
        if isinstance(self.private, rsa.RSAPrivateKey):
            return {**self.jwk, "d": number(numbers.d)}
        return {**self.jwk, "d": number(numbers.private_value, 32)}

    @property
    def thumbprint(self):
        text = json.dumps(self.jwk, separators=(",", ":"), sort_keys=True)
        return b64(hashlib.sha256(text.encode()).digest())

    def proof(self, method, url, token=None, nonce=None, header=None, signer=None, **changes):
        claims = {"htm": method, "htu": url, "iat": int(time.time()), "jti": str(uuid.uuid4())}
        if token:
            claims["ath"] = b64(hashlib.sha256(token.encode()).digest())
        if nonce:
            claims["nonce"] = nonce
        claims.update(changes)
        claims = {name: value for name, value in claims.items() if value is not None}
        top = {"typ": "dpop+jwt", "jwk": self.jwk, **(header or {})}
        top = {name: value for name, value in top.items() if value is not None}
        if top.get("alg") == "none":
            return ".".join([b64(json.dumps(top).encode()), b64(json.dumps(claims).encode()), ""])
        secret = signer if isinstance(signer, str) else (signer or self).private
        return jwt.encode(claims, secret, top.pop("alg", self.algorithm), top)


def send(base, method, path, fields=(), form=None):
    """One request with fields as they stand; returns the status, the fields and the body."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=10)
    connection.putrequest(method, path)
    body = urllib.parse.urlencode(form).encode() if form else b""
    if form:
        connection.putheader("Content-Type", "application/x-www-form-urlencoded")
    if method == "POST":
        connection.putheader("Content-Length", str(len(body)))
    for name, value in fields:
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def challenge(fields):
    """The `error` of the DPoP challenge."""
    for field in fields.get_all("WWW-Authenticate") or []:
        if field.startswith("DPoP "):
            assert 'algs="ES256 EdDSA RS256 PS256"' in field, field
            return field.split('error="')[1].split('"')[0] if 'error="' in field else "none"
    return "-"


def basic(client="one"):
    return ("Authorization", "Basic " + base64.b64encode(f"{client}:s3cret".encode()).decode())


def ask(base, key, fields=None, form=None, nonce=None):
    form = {"grant_type": "client_credentials", **(form or {})}
    fields = [basic()] if fields is None else fields
    if key:
        fields = fields + [("DPoP", key.proof("POST", TOKEN, nonce=nonce))]
    return send(base, "POST", "/oauth2/token", fields, form)


def use(base, key, token, path="/items", method="GET", url=None, nonce=None, **changes):
    proof = key.proof(method, url or base + path, token, nonce, **changes)
    return send(base, method, path, [("Authorization", "DPoP " + token), ("DPoP", proof)])


def dance(base, algorithm, method, file=None):
    key = Key(algorithm)
    fields, form = [basic()], {}
    if method == "client_secret_post":
        fields, form = [], {"client_id": "one", "client_secret": "s3cret"}
    if method == "private_key_jwt":
        now = int(time.time())
        claims = {"iss": "signer", "sub": "signer", "aud": "https://as.test", "exp": now + 60,
                  "iat": now, "jti": str(uuid.uuid4())}
        form = {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, load(file).private, "ES256")}
        fields = []
    status, headers, body = ask(base, key, fields, form)
    reply = json.loads(body)
    token = reply["access_token"]
    print("token", status, reply["token_type"], headers["DPoP-Nonce"])
    if token.count(".") == 2:
        print("cnf", jwt.decode(token, options={"verify_signature": False})["cnf"] == {"jkt": key.thumbprint})
    facts = json.loads(send(base, "POST", "/oauth2/introspect", [basic()], {"token": token})[2])
    print("introspected", facts["active"], facts["token_type"], facts["cnf"] == {"jkt": key.thumbprint})
    # The query is no part of htu; an upper case host and the default path forms are the same.
    status, _, seen = use(base, key, token, "/items?a=1", url=base + "/items")
    lines = seen.lower().split("\r\n")
    print("resource", status, [l for l in lines if l.startswith(("x-auth-scheme", "authorization", "dpop"))])
    proof = key.proof("GET", base + "/%69tems", token)
    fields = [("Authorization", "dpop " + token), ("DPoP", proof)]
    print("normalised", send(base, "GET", "/items", fields)[0])
    status, headers, _ = send(base, "GET", "/items", fields)
    print("replayed", status, challenge(headers))
    status, headers, _ = send(base, "GET", "/items", [("Authorization", "Bearer " + token)])
    print("downgraded", status, [f.split(" ")[0] for f in headers.get_all("WWW-Authenticate")])
    print("stolen", use(base, Key(algorithm), token)[0])
    print("strict", use(base, key, token, "/strict")[0])
    bearer = json.loads(ask(base, None)[2])
    print("unbound", bearer["token_type"], use(base, key, bearer["access_token"])[0],
          send(base, "GET", "/items", [("Authorization", "Bearer " + bearer["access_token"])])[0])
    status, headers, _ = send(
        base, "GET", "/strict", [("Authorization", "Bearer " + bearer["access_token"])])
    print("strict, unbound", status, [f.split(" ")[0] for f in headers.get_all("WWW-Authenticate")],
          challenge(headers))
    status, headers, _ = send(base, "GET", "/strict")
    print("strict, nothing", status, [f.split(" ")[0] for f in headers.get_all("WWW-Authenticate")],
          challenge(headers))


def faults(base):
    key, other = Key(), Key()
    token = json.loads(ask(base, key)[2])["access_token"]
    second = json.loads(ask(base, key)[2])["access_token"]
    now = int(time.time())
    rsa_key = Key("RS256")
    url = base + "/items"

    def made(**changes):
        return [key.proof("GET", changes.pop("htu_", url), changes.pop("token_", token), **changes)]

    cases = {
        "good": made(),
        "missing": [],
        "two": made() + made(),
        "junk": ["junk"],
        "four parts": [made()[0] + ".x"],
        "typ": made(header={"typ": "JWT"}),
        "no typ": made(header={"typ": None}),
        "no jwk": made(header={"jwk": None}),
        "private EC": made(header={"jwk": key.private_jwk}),
        "private RSA": [rsa_key.proof("GET", url, token, header={"jwk": rsa_key.private_jwk})],
        "weak RSA": [Key("RS256", rsa.generate_private_key(65537, 1024)).proof("GET", url, token)],
        "large RSA": [Key("RS256", rsa.generate_private_key(65537, 5120)).proof("GET", url, token)],
        "symmetric jwk": made(header={"jwk": {"kty": "oct", "k": "AAAA"}}),
        "none": made(header={"alg": "none"}),
        "HS256": made(header={"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"secret" * 8)}}, signer="secret" * 8),
        "HS256, EC key": made(header={"alg": "HS256"}, signer="secret" * 8),
        "forged": made(signer=other),
        "crit": made(header={"crit": ["x"], "x": 1}),
        "htm": made(htm="POST"),
        "htm in lower case": made(htm="get"),
        "htu, other path": made(htu_=base + "/other"),
        "htu, other host": made(htu_="http://elsewhere/items"),
        "htu, other scheme": made(htu_=url.replace("http:", "https:")),
        "htu, no URL": made(htu_="/items"),
        "htu, a number": made(htu=7),
        "old": made(iat=now - 70),
        "future": made(iat=now + 60),
        "iat as text": made(iat=str(now)),
        "no jti": made(jti=None),
        "jti too long": made(jti="j" * 257),
        "long jti": made(jti="j" * 256),
        "same jti": made(jti="j" * 256, iat=now - 1),
        "no ath": made(token_=None),
        "ath of another": made(token_=second),
        "other key": [other.proof("GET", url, token)],
        "huge": made(pad="x" * 8192),
        "nearly huge": made(pad="x" * 5000),
        "one over": [],
        "good again": made(),
    }
    # Of 8 KiB to the byte, and one more.
    padded = "x" * 5000
    while len(proof := made(pad=padded)[0]) < 8192:
        padded += "x" * max(1, (8192 - len(proof)) * 3 // 4)
    cases["one over"] = [proof] if len(proof) > 8192 else [proof + "A"]
    for name, proofs in cases.items():
        fields = [("Authorization", "DPoP " + token), ("X-Request-Id", name.replace(" ", "-").replace(",", ""))]
        status, headers, _ = send(base, "GET", "/items", fields + [("DPoP", p) for p in proofs])
        print(name.replace(" ", "-").replace(",", ""), status, challenge(headers))


def token_faults(base):
    key = Key()
    url = TOKEN
    form = {"grant_type": "client_credentials"}
    good = key.proof("POST", url)
    cases = {
        "good": [good],
        "replayed": [good],
        "two": [key.proof("POST", url), key.proof("POST", url)],
        "junk": ["junk"],
        "htm": [key.proof("GET", url)],
        "htu": [key.proof("POST", base + "/items")],
        "host": [key.proof("POST", base + "/oauth2/token")],
        "none": [key.proof("POST", url, header={"alg": "none"})],
        "private": [key.proof("POST", url, header={"jwk": key.private_jwk})],
        "old": [key.proof("POST", url, iat=int(time.time()) - 70)],
    }
    for name, proofs in cases.items():
        fields = [basic(), ("X-Request-Id", "token-" + name)] + [("DPoP", p) for p in proofs]
        status, _, body = send(base, "POST", "/oauth2/token", fields, form)
        reply = json.loads(body)
        print("token-" + name, status, reply.get("error") or reply["token_type"])
    # Whoever is not proven gets none, and burns nothing.
    proof = key.proof("POST", url)
    wrong = ("Authorization", "Basic " + base64.b64encode(b"one:wrong").decode())
    print("stranger", send(base, "POST", "/oauth2/token", [wrong, ("DPoP", proof)], form)[0],
          send(base, "POST", "/oauth2/token", [basic(), ("DPoP", proof)], form)[0])


def nonces(base):
    key = Key()
    status, headers, body = ask(base, key)
    print("token", status, json.loads(body)["error"])
    status, headers, body = ask(base, key, nonce="invented")
    print("token, invented", status, json.loads(body)["error"], headers.get_all("Cache-Control"))
    nonce = headers["DPoP-Nonce"]
    status, headers, body = ask(base, key, nonce=nonce)
    token = json.loads(body)["access_token"]
    print("token, again", status, json.loads(body)["token_type"])
    status, headers, _ = use(base, key, token)
    print("resource", status, challenge(headers), headers["DPoP-Nonce"] is not None)
    nonce = first = headers["DPoP-Nonce"]
    status, headers, _ = use(base, key, token, nonce=nonce)
    print("resource, again", status)
    # In time an answer tells the next one, while the old one is still good: nobody is refused on the way.
    refused, limit = 0, time.time() + 20
    while nonce == first and time.time() < limit:
        status, headers, _ = use(base, key, token, nonce=nonce)
        refused += status != 200
        nonce = headers["DPoP-Nonce"] or nonce
    print("rolled over", nonce != first, refused)
    while time.time() < limit:
        status, headers, _ = use(base, key, token, nonce=first)
        if status != 200:
            break
    print("over", status, challenge(headers))
    print("fresh", use(base, key, token, nonce=headers["DPoP-Nonce"])[0])
    # Who asks for a bearer token needs none.
    print("bearer", ask(base, None)[0])


def assertion(base, file):
    """The same assertion comes again with the nonce that was asked for; then it is used up."""
    maker, now = Key(), int(time.time())
    claims = {"iss": "signer", "sub": "signer", "aud": "https://as.test", "exp": now + 60,
              "iat": now, "jti": str(uuid.uuid4())}
    form = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, load(file).private, "ES256")}
    # Who is not proven learns nothing of a proof, however it is.
    forged = {**form, "client_assertion": jwt.encode(claims, Key().private, "ES256")}
    for proof in ["junk", maker.proof("POST", TOKEN)]:
        fields = [("DPoP", proof)]
        status, headers, body = send(base, "POST", "/oauth2/token", fields,
                                     {"grant_type": "client_credentials", **forged})
        print(status, json.loads(body)["error"], "DPoP-Nonce" in headers)
    status, headers, body = ask(base, maker, [], form)
    print(status, json.loads(body)["error"])
    nonce = headers["DPoP-Nonce"]
    status, headers, body = ask(base, maker, [], form, nonce)
    print(status, json.loads(body)["token_type"])
    print(ask(base, maker, [], form, nonce)[0])


def http2(base):
    import httpx

    key = Key()
    token = json.loads(ask(base, key)[2])["access_token"]
    with httpx.Client(http1=False, http2=True, timeout=10) as client:
        def get(proofs, scheme="DPoP "):
            return client.get(
                base + "/items?a=b",
                headers=[("authorization", scheme + token)] + [("dpop", p) for p in proofs])

        proof = key.proof("GET", base + "/items", token)
        answer = get([proof])
        print("h2", answer.http_version, answer.status_code, "dpop:" in answer.text.lower())
        print("replayed", get([proof]).status_code)
        print("two", get([key.proof("GET", base + "/items", token) for _ in "ab"]).status_code)
        print("downgraded", get([], "Bearer ").status_code)


def websocket(base):
    import asyncio

    import websockets

    key = Key()
    token = json.loads(ask(base, key)[2])["access_token"]

    async def connect(proof):
        fields = [("Authorization", "DPoP " + token)] + ([("DPoP", proof)] if proof else [])
        try:
            async with websockets.connect(base.replace("http", "ws") + "/ws", extra_headers=fields) as socket:
                await socket.send("hello")
                return await asyncio.wait_for(socket.recv(), 10)
        except websockets.InvalidStatusCode as error:
            return error.status_code

    proof = key.proof("GET", base + "/ws", token)
    print("opened", asyncio.run(connect(proof)))
    print("replayed", asyncio.run(connect(proof)))
    print("missing", asyncio.run(connect(None)))


def echo(file):
    import asyncio

    import websockets

    async def serve(socket):
        async for message in socket:
            await socket.send(message + " back")

    async def main():
        async with websockets.serve(serve, "127.0.0.1", 0) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await asyncio.Future()

    asyncio.run(main())


def load(file):
    text = open(file, "rb").read()
    return Key(open(file + ".alg").read(), serialization.load_pem_private_key(text, None))


def key(file, algorithm):
    made = Key(algorithm).private
    open(file, "wb").write(made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    open(file + ".alg", "w").write(algorithm)
    jwk = Key(algorithm, made).jwk
    open(file + ".jwks", "w").write(json.dumps({"keys": [{**jwk, "alg": algorithm}]}))


def proof(file, method, url, token, count, changes="{}"):
    maker, changes = load(file), json.loads(changes)
    if "iat" in changes:
        changes["iat"] += int(time.time())
    for _ in range(int(count)):
        print(maker.proof(method, url, None if token == "-" else token, **changes))


def issued(file, claims):
    """A token of an issuer that has this key."""
    now = int(time.time())
    claims = {"exp": now + 60, "iat": now, **json.loads(claims)}
    print(jwt.encode(claims, load(file).private, "ES256", {"typ": "at+jwt"}))


def jkt(file):
    print(load(file).thumbprint)


globals()[sys.argv[1]](*sys.argv[2:])
