"""Verifies JWS with jwcrypto, which shares no line with ours. One line of JSON on stdin: {"key": TEXT, "secret": bool, "jws": TEXT,
"payload": TEXT or null}; `payload` is what a detached signature is over. A public key is in bech32m, a secret one in hex. Prints the payload."""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwcrypto import jwk, jws


ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def public(asked):
    if asked["secret"]:
        secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(asked["key"]))
        return secret.public_key().public_bytes_raw()
    bits = 0
    for letter in asked["key"].rsplit("1", 1)[1][:-6]:
        bits = bits << 5 | ALPHABET.index(letter)
    # 52 letters are 260 bits: the last four fill the last letter up.
    return (bits >> 4).to_bytes(32, "big")


asked = json.load(sys.stdin)
x = base64.urlsafe_b64encode(public(asked)).rstrip(b"=").decode()
key = jwk.JWK(kty="OKP", crv="Ed25519", x=x)
token = jws.JWS()
token.allowed_algs = ["EdDSA"]
token.deserialize(asked["jws"])
token.verify(key, detached_payload=asked["payload"])
print(asked["payload"] if asked["payload"] is not None else token.payload.decode())
