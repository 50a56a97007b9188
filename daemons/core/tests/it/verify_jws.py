"""Verifies JWS with jwcrypto, which shares no line with ours. One line of JSON on stdin: {"key": HEX, "secret": bool, "jws": TEXT,
"payload": TEXT or null}; `payload` is what a detached signature is over. Prints the payload."""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwcrypto import jwk, jws


def public(asked):
    raw = bytes.fromhex(asked["key"])
    if not asked["secret"]:
        return raw
    return Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()


asked = json.load(sys.stdin)
x = base64.urlsafe_b64encode(public(asked)).rstrip(b"=").decode()
key = jwk.JWK(kty="OKP", crv="Ed25519", x=x)
token = jws.JWS()
token.allowed_algs = ["EdDSA"]
token.deserialize(asked["jws"])
token.verify(key, detached_payload=asked["payload"])
print(asked["payload"] if asked["payload"] is not None else token.payload.decode())
