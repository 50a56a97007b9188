#!/usr/bin/env python3
"""A second verifier of the audit log, which shares no line with the first one: LOG.jsonl NOTE.txt KEY.txt, or EXPORT.jsonl KEY.txt

Follows the chain of the log, builds its Merkle tree (RFC 6962) by halves, and compares the root with that of the checkpoint (a
signed note of C2SP), whose Ed25519 signature is checked by the curve arithmetic of verify_block_report.py. KEY.txt is in hex, or as
`hhctl pki status` shows it. A file of `hhctl audit export` has the note in its last line; the key in it is left aside.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "mining" / "tests" / "it"))
from verify_block_report import has_signed


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", root(leaves[:half]), root(leaves[half:]))


def verify(log, note, key):
    leaves, before = [], bytes(32)
    for number, line in enumerate(log.split(b"\n")[:-1], 1):
        entry = json.loads(line)
        if entry["seq"] != number:
            return f"line {number} has the number {entry['seq']}"
        if entry["previous"] != before.hex():
            return f"line {number} names another line before it"
        before = sha256(b"\0", line)
        leaves.append(before)
    body, signature = note.split(b"\n\n")
    body += b"\n"
    origin, size, expected = body.decode().splitlines()
    raw = base64.b64decode(signature.split()[-1])
    key_id = sha256(origin.encode(), b"\n\1", key)[:4]
    if raw[:4] != key_id or not has_signed(key, body, raw[4:]):
        return "the checkpoint is not signed by the key"
    if int(size) != len(leaves):
        return f"{len(leaves)} lines in place of {size}"
    if base64.b64encode(root(leaves)).decode() != expected:
        return "the root is another"
    return None


def split(export):
    log, last = export.rstrip(b"\n").rsplit(b"\n", 1)
    return log + b"\n", json.loads(last)["checkpoint"].encode()


def read_key(text):
    if not text.startswith("hhaudit1"):
        return bytes.fromhex(text)
    # Five bits a letter (bech32); the last six letters are a checksum.
    bits = "".join(f"{'qpzry9x8gf2tvdw0s3jn54khce6mua7l'.index(letter):05b}" for letter in text[8:-6])
    return int(bits[:256], 2).to_bytes(32, "big")


*files, key = (Path(name).read_bytes() for name in sys.argv[1:])
log, note = files if len(files) == 2 else split(files[0])
wrong = verify(log, note, read_key(key.decode().strip()))
print(f"wrong: {wrong}" if wrong else f"right: {log.count(10)} lines")
sys.exit(bool(wrong))
