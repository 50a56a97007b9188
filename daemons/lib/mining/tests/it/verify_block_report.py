#!/usr/bin/env python3
"""A second verifier of block reports, written from docs/reference/block-report.md alone. Needs Python 3.8 and nothing else.

usage: verify_block_report.py DIRECTORY...

Each directory has report.json, and of these what there is to check:
  signature.txt and key.txt   the signature of the report, and the public key that is trusted
  proof*.json                 proofs of accounts
  own*.jsonl                  the entries of the account of proof*.json with the same rest of the name
  edge.jsonl                  the shares of the edge
  entries.jsonl, known.json   all entries of the window; {"finder": NAME, "salts": {ACCOUNT: HEX}}
  shares.jsonl, known.json    rows of shares, of the window and of whatever else there is; the block's share is its header hash

Prints a line for each directory; the status is 0 if all is right.
"""

import hashlib
import json
import sys
from pathlib import Path

COIN_MSAT = 100_000_000_000
NAMES = ("account", "worker", "node", "lane")


class Wrong(Exception):
    """What a check found."""


def require(holds, what):
    if not holds:
        raise Wrong(what)


# ---- 1. words and encodings

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u8(n):
    return n.to_bytes(1, "big")


def u64(n):
    return n.to_bytes(8, "big")


def i64(n):
    return n.to_bytes(8, "big", signed=True)


def u128(n):
    return n.to_bytes(16, "big")


def text(t):
    raw = t.encode()
    return len(raw).to_bytes(4, "big") + raw


def dump(value):
    """The one spelling."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def load(raw):
    def once(pairs):
        require(len(dict(pairs)) == len(pairs), "a field is there twice")
        return dict(pairs)
    value = json.loads(raw, object_pairs_hook=once)
    require(dump(value) == raw, "another spelling of the JSON")
    return value


def fields(value, *names):
    require(isinstance(value, dict) and tuple(value) == names, f"the fields are not {names}")
    return value


def number(t, bits):
    """An integer in decimal text."""
    require(isinstance(t, str) and t.isascii() and t.isdigit() and str(int(t)) == t, f"{t!r} is no integer in text")
    require(int(t) < 1 << bits, f"{t} is too large")
    return int(t)


def integer(n, low, high):
    require(type(n) is int and low <= n <= high, f"{n!r} is not from {low} to {high}")
    return n


def time(n):
    return integer(n, -(1 << 63), (1 << 63) - 1)


def string(t):
    require(isinstance(t, str), "no text")
    return t


def unhex(t, size):
    require(isinstance(t, str) and len(t) == 2 * size and not set(t) - set("0123456789abcdef"), f"{t!r} is no hex of {size}")
    return bytes.fromhex(t)


def block_bytes(t):
    return unhex(t, 32)[::-1]


def minute_of(at_ms):
    return at_ms // 60_000


def lines(path):
    return [load(line) for line in path.read_bytes().splitlines()]


# ---- 2. the report

REPORT_FIELDS = (
    "format", "chain", "block", "height", "value_msat", "subsidy_msat", "fees_msat", "pool_fee_msat", "node_half_msat",
    "treasury_msat", "miners_msat", "residue_msat", "window", "newest", "oldest", "is_full", "score", "finder", "nodes",
    "node_reserve", "tree", "edge", "previous_report",
)


def subsidy_msat(chain, height):
    halvings = height // (150 if chain == "regtest" else 210_000)
    return (50 * 100_000_000 >> halvings) * 1000 if halvings < 64 else 0


def amounts(chain, height, value):
    """What follows from V alone."""
    subsidy = min(subsidy_msat(chain, height), value)
    fee = subsidy // 100
    return {
        "value_msat": value, "subsidy_msat": subsidy, "fees_msat": value - subsidy, "pool_fee_msat": fee,
        "node_half_msat": fee // 2, "treasury_msat": fee - fee // 2, "miners_msat": subsidy - fee,
    }


def share_key(value):
    """pool, epoch, seq: what orders shares of one millisecond."""
    return (string(value["pool"]).encode(), unhex(value["epoch"], 16), number(value["seq"], 64))


def newest_key(newest):
    """Compares with (at_ms, share_key) of any share at or before it as not less."""
    fields(newest, "at_ms", "share")
    if newest["share"] is None:
        return (time(newest["at_ms"]) + 1,)
    return (time(newest["at_ms"]), share_key(fields(newest["share"], "pool", "epoch", "seq")))


def read_report(raw):
    r = fields(load(raw), *REPORT_FIELDS)
    require(r["format"] == "hyperhash-block-report/1", "another format")
    require(r["chain"] in ("main", "test", "testnet4", "signet", "regtest"), "another chain")
    block_bytes(r["block"])
    integer(r["height"], 0, (1 << 32) - 1)
    unhex(r["finder"], 32)
    require(r["previous_report"] is None or unhex(r["previous_report"], 32), "previous_report")
    value = number(r["value_msat"], 64)
    require(value % 1000 == 0 and value <= 21_000_000 * COIN_MSAT, "value_msat")
    for name, amount in amounts(r["chain"], r["height"], value).items():
        require(number(r[name], 64) == amount, f"{name} is not {amount}")
    check_parts(r)
    check_window(r)
    return r


def check_parts(r):
    half, miners, all_score = int(r["node_half_msat"]), int(r["miners_msat"]), number(r["score"], 128)
    reserve = fields(r["node_reserve"], "score", "amount_msat")
    score, given, last = number(reserve["score"], 128), number(reserve["amount_msat"], 64), ""
    require(given == (half * score // all_score if all_score else half), "the reserve's part")
    for node in r["nodes"]:
        fields(node, "node", "score", "amount_msat")
        part = number(node["score"], 128)
        require(part > 0 and last.encode() < string(node["node"]).encode() and node["node"] != "core", "the order of nodes")
        require(number(node["amount_msat"], 64) == half * part // all_score if all_score else False, "a node's part")
        score, given, last = score + part, given + int(node["amount_msat"]), node["node"]
    tree = fields(r["tree"], "hash", "score", "amount_msat", "leaves")
    unhex(tree["hash"], 32)
    require(score == all_score == number(tree["score"], 128), "the scores of nodes, tree and window")
    accounts, leaves = number(tree["amount_msat"], 64), integer(tree["leaves"], 0, (1 << 32) - 1)
    require(accounts + given + int(r["treasury_msat"]) == int(r["value_msat"]), "the parts are not the whole")
    lost = miners - (accounts - int(r["fees_msat"]) - number(r["residue_msat"], 64))
    require((0 <= lost < leaves) if all_score else (lost == miners and leaves == 1), "the residue")


def check_window(r):
    full, score = r["is_full"], int(r["score"])
    require(type(full) is bool, "is_full")
    newest, oldest, rule = newest_key(r["newest"]), r["oldest"], r["window"].get("rule")
    kind = oldest.get("kind")
    if rule == "pplns":
        size = number(fields(r["window"], "rule", "score")["score"], 128)
        if full:
            require(score == size and kind in ("share", "minute"), "a full window")
        else:
            require(score < size and kind == "all", "a window that is not full")
    else:
        previous = fields(r["window"], "rule", "previous")["previous"]
        require(rule == "round" and not full, "a round")
        require(previous is None or block_bytes(previous), "previous")
        require(oldest == ({"kind": "all"} if previous is None else {"kind": "block", "block": previous}), "a round's end")
    if kind == "share":
        fields(oldest, "kind", "at_ms", "pool", "epoch", "seq", "score", "counted")
        require((time(oldest["at_ms"]), share_key(oldest)) <= newest, "the oldest share is too new")
        require(0 < number(oldest["counted"], 128) <= number(oldest["score"], 128), "the oldest share's score")
        require(int(oldest["counted"]) <= score, "the oldest share's score")
    elif kind == "minute":
        require(time(fields(oldest, "kind", "minute")["minute"]) <= minute_of(r["newest"]["at_ms"]), "the oldest minute")
    elif kind == "block":
        fields(oldest, "kind", "block")
    else:
        fields(oldest, "kind")
    edge = fields(r["edge"], "rows", "hash")
    rows = integer(edge["rows"], 0, (1 << 32) - 1)
    require((rows > 0) == (kind == "share"), "the edge")
    require(unhex(edge["hash"], 32) == sha256() or rows > 0, "the edge")


# ---- 3. the window

def origin_bytes(origin):
    return text(origin["worker"]) + text(origin["node"]) + text(origin["lane"])


def origin_key(origin):
    return tuple(string(origin[name]).encode() for name in NAMES)


def entry_bytes(e):
    if e["kind"] == "part":
        return (u8(1) + i64(e["minute"]) + origin_bytes(e["origin"])
                + u64(number(e["shares"], 64)) + u128(number(e["work"], 128)) + u128(number(e["score"], 128)))
    if e["kind"] == "minute":
        return (u8(2) + i64(e["minute"]) + text(e["pool"]) + unhex(e["epoch"], 16) + origin_bytes(e["origin"])
                + u64(number(e["shares"], 64)) + u128(number(e["work"], 128)) + u128(number(e["score"], 128))
                + unhex(e["chain"], 32))
    return (u8(3) + i64(e["at_ms"]) + text(e["pool"]) + unhex(e["epoch"], 16) + u64(number(e["seq"], 64))
            + origin_bytes(e["origin"]) + u128(number(e["score"], 128)) + u128(number(e["counted"], 128)))


def counted(e):
    return number(e["counted" if e["kind"] == "share" else "score"], 128)


def check_fields(e):
    names = {
        "part": ("kind", "minute", "origin", "shares", "work", "score"),
        "minute": ("kind", "minute", "pool", "epoch", "origin", "shares", "work", "score", "chain"),
        "share": ("kind", "at_ms", "pool", "epoch", "seq", "origin", "score", "counted"),
    }
    require(e.get("kind") in names, "a kind of entry that there is not")
    fields(e, *names[e["kind"]])
    fields(e["origin"], *NAMES)


def groups(entries):
    """Entries of one minute and kind together, each group with (minute, kind)."""
    out = []
    for e in entries:
        check_fields(e)
        key = (minute_of(e["at_ms"]) if e["kind"] == "share" else e["minute"], e["kind"])
        if not out or out[-1][0] != key:
            out.append((key, []))
        out[-1][1].append(e)
    return out


def check_entries(r, entries):
    """That these can be the entries of the report's window; gives where it ends."""
    newest, size = newest_key(r["newest"]), int(r["window"].get("score", 1 << 128))
    previous = r["window"].get("previous")
    left, last_minute, oldest, ended = size, None, None, False
    for (minute, kind), group in groups(entries):
        require(not ended and left > 0, "there are entries behind the window's end")
        require(last_minute is None or minute < last_minute, "minutes out of order")
        require(minute <= minute_of(r["newest"]["at_ms"]), "a minute after the winning share")
        last_minute, at_newest = minute, minute == minute_of(r["newest"]["at_ms"])
        if kind == "share":
            require("score" in r["window"], "a round has no shares")
            keys = [(e["at_ms"], share_key(e)) for e in group]
            require(all(a > b for a, b in zip(keys, keys[1:])) and keys[0] <= newest, "shares out of order")
            for e in group:
                require(left > 0 and counted(e) == min(left, number(e["score"], 128)), "what a share counts")
                left -= counted(e)
            require(left == 0, "the shares don't fill the window")
            last = group[-1]
            oldest = {name: last[name] for name in ("kind", "at_ms", "pool", "epoch", "seq", "score", "counted")}
            ended = True
            continue
        if kind == "part":
            keys = [origin_key(e["origin"]) for e in group]
            require(at_newest or previous is not None, "a part of a minute that no block cuts")
            ended = not at_newest
        else:
            keys = [(string(e["pool"]).encode(), unhex(e["epoch"], 16)) + origin_key(e["origin"]) for e in group]
            require(not at_newest, "a whole minute that a block cuts")
        require(all(a < b for a, b in zip(keys, keys[1:])), "entries of a minute out of order")
        left -= sum(counted(e) for e in group)
        require(left >= 0, "a minute that does not fit")
        oldest = {"kind": "minute", "minute": minute}
    if "score" not in r["window"]:
        return {"kind": "all"} if previous is None else {"kind": "block", "block": previous}
    return oldest if left == 0 else {"kind": "all"}


# ---- 4. accounts

def pseudonym(salt, block, account):
    return sha256(salt, block, account.encode())


def leaf_node(name, score, amount, entries_hash):
    return (sha256(u8(0), name, u128(score), u64(amount), entries_hash), score, amount)


def join(left, right):
    data = b"".join(part for node in (left, right) for part in (node[0], u128(node[1]), u64(node[2])))
    return (sha256(u8(1), data), left[1] + right[1], left[2] + right[2])


def root_of(leaves):
    """Of (pseudonym, score, amount, hash of entries)."""
    names = [leaf[0] for leaf in leaves]
    require(len(set(names)) == len(names), "two leaves with one pseudonym")
    level = [leaf_node(*leaf) for leaf in sorted(leaves)]
    while len(level) > 1:
        pairs = [level[i:i + 2] for i in range(0, len(level), 2)]
        level = [join(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def check_proof(r, raw, own):
    p = fields(load(raw), "format", "block", "account", "salt", "score", "amount_msat", "minutes", "path")
    require(p["format"] == "hyperhash-account-proof/1" and p["block"] == r["block"], "a proof for something else")
    require(len(p["path"]) <= max(r["tree"]["leaves"] - 1, 0).bit_length(), "the path is too long")
    name = pseudonym(unhex(p["salt"], 32), block_bytes(p["block"]), p["account"])
    score, amount = number(p["score"], 128), number(p["amount_msat"], 64)
    node = leaf_node(name, score, amount, unhex(p["minutes"], 32))
    for step in p["path"]:
        fields(step, "side", "hash", "score", "amount_msat")
        sibling = (unhex(step["hash"], 32), number(step["score"], 128), number(step["amount_msat"], 64))
        require(step["side"] in ("left", "right"), "a side that there is not")
        node = join(sibling, node) if step["side"] == "left" else join(node, sibling)
    tree = r["tree"]
    require(node == (bytes.fromhex(tree["hash"]), int(tree["score"]), int(tree["amount_msat"])), "the path leads elsewhere")
    all_score = int(r["score"])
    due = int(r["miners_msat"]) * score // all_score if all_score else 0
    if name.hex() == r["finder"]:
        due += int(r["fees_msat"]) + int(r["residue_msat"])
    require(amount == due, f"the account is given {amount}, and due is {due}")
    if own is not None:
        require(all(e["origin"]["account"] == p["account"] for e in own), "entries of another account")
        require(sha256(*map(entry_bytes, own)).hex() == p["minutes"], "the entries are not those of the leaf")
        require(sum(map(counted, own)) == score, "the entries have another score")


# ---- 3.3 the edge

def edge_bytes(row):
    return (i64(row["at_ms"]) + text(row["pool"]) + unhex(row["epoch"], 16) + u64(number(row["seq"], 64))
            + unhex(row["account"], 32) + u128(number(row["score"], 128)) + u128(number(row["counted"], 128)))


def check_edge(r, rows):
    for row in rows:
        fields(row, "at_ms", "pool", "epoch", "seq", "account", "score", "counted")
    require(len(rows) == r["edge"]["rows"] and sha256(*map(edge_bytes, rows)).hex() == r["edge"]["hash"], "another edge")
    require(all((a["at_ms"], share_key(a)) > (b["at_ms"], share_key(b)) for a, b in zip(rows, rows[1:])), "the edge's order")
    if rows:
        last = {name: rows[-1][name] for name in ("at_ms", "pool", "epoch", "seq", "score", "counted")}
        require(last == {k: v for k, v in r["oldest"].items() if k != "kind"}, "the edge's end")
        require(all(row["counted"] == row["score"] for row in rows[:-1]), "what the edge counts")


# ---- 6. the report again

def report_again(r, entries, known):
    oldest = check_entries(r, entries)
    block = block_bytes(r["block"])
    names = {account: pseudonym(unhex(salt, 32), block, account) for account, salt in known["salts"].items()}
    accounts, nodes, straight, hashes, edge = {}, {}, 0, {}, []
    for e in entries:
        account, node, score = e["origin"]["account"], e["origin"]["node"], counted(e)
        hashes.setdefault(account, []).append(entry_bytes(e))
        accounts[account] = accounts.get(account, 0) + score
        if node == "core":
            straight += score
        else:
            nodes[node] = nodes.get(node, 0) + score
        if e["kind"] == "share":
            row = {name: e[name] for name in ("at_ms", "pool", "epoch", "seq")}
            edge.append({**row, "account": names[account].hex(), "score": e["score"], "counted": e["counted"]})
    total = sum(accounts.values())
    fixed = amounts(r["chain"], r["height"], int(r["value_msat"]))
    half, miners = fixed["node_half_msat"], fixed["miners_msat"]
    parts = {a: miners * s // total for a, s in accounts.items() if s}
    node_parts = [
        {"node": n, "score": str(s), "amount_msat": str(half * s // total)}
        for n, s in sorted(nodes.items(), key=lambda item: item[0].encode()) if s
    ]
    reserve = half * straight // total if total else half
    given = sum(parts.values()) + sum(int(n["amount_msat"]) for n in node_parts) + reserve
    residue = fixed["value_msat"] - fixed["fees_msat"] - fixed["treasury_msat"] - given
    finder = known["finder"]
    parts[finder] = parts.get(finder, 0) + fixed["fees_msat"] + residue
    leaves = [(names[a], accounts.get(a, 0), amount, sha256(*hashes.get(a, []))) for a, amount in parts.items()]
    root = root_of(leaves)
    again = {
        "format": "hyperhash-block-report/1", "chain": r["chain"], "block": r["block"], "height": r["height"],
        **{name: str(amount) for name, amount in fixed.items()},
        "residue_msat": str(residue), "window": r["window"], "newest": r["newest"], "oldest": oldest,
        "is_full": total == int(r["window"].get("score", 1 << 128)), "score": str(total), "finder": names[finder].hex(),
        "nodes": node_parts, "node_reserve": {"score": str(straight), "amount_msat": str(reserve)},
        "tree": {"hash": root[0].hex(), "score": str(root[1]), "amount_msat": str(root[2]), "leaves": len(leaves)},
        "edge": {"rows": len(edge), "hash": sha256(*map(edge_bytes, edge)).hex()}, "previous_report": r["previous_report"],
    }
    require(tuple(again) == REPORT_FIELDS, "our own order of fields")
    for name in REPORT_FIELDS:
        require(again[name] == r[name], f"{name} comes out as {again[name]}, and not as {r[name]}")


# ---- 3.1 from nothing but shares

def place(share):
    return (share["at_ms"], share_key(share))


def winning_place(shares, block, otherwise):
    """Where the share of a block is."""
    found = [place(s) for s in shares if s["hash"] == block]
    return found[0] if found else otherwise


def part_entries(minute, shares):
    sums = {}
    for s in shares:
        key = origin_key(s["origin"])
        _, count, work, score = sums.get(key, (s["origin"], 0, 0, 0))
        sums[key] = (s["origin"], count + 1, work + int(s["work"]), score + int(s["score"]))
    return [
        {"kind": "part", "minute": minute, "origin": o, "shares": str(n), "work": str(w), "score": str(s)}
        for _, (o, n, w, s) in sorted(sums.items())
    ]


def minute_entries(minute, shares):
    sums = {}
    for s in sorted(shares, key=place):
        key = share_key(s)[:2] + origin_key(s["origin"])
        _, count, work, score, chain = sums.get(key, (s, 0, 0, 0, bytes(32)))
        record = (unhex(s["epoch"], 16) + u64(int(s["seq"])) + i64(s["at_ms"]) + block_bytes(s["hash"])
                  + u128(int(s["work"])) + u128(int(s["score"])))
        sums[key] = (s, count + 1, work + int(s["work"]), score + int(s["score"]), sha256(chain, record))
    return [
        {"kind": "minute", "minute": minute, "pool": s["pool"], "epoch": s["epoch"], "origin": s["origin"], "shares": str(n),
         "work": str(w), "score": str(score), "chain": chain.hex()}
        for _, (s, n, w, score, chain) in sorted(sums.items(), key=lambda item: item[0])
    ]


def share_entries(shares, left):
    out = []
    for s in sorted(shares, key=place, reverse=True):
        if left == 0:
            break
        counts = min(left, int(s["score"]))
        left -= counts
        out.append({"kind": "share", **{n: s[n] for n in ("at_ms", "pool", "epoch", "seq", "origin", "score")},
                    "counted": str(counts)})
    return out


def entries_of(r, shares):
    """The window's entries from the shares themselves."""
    newest = newest_key(r["newest"])
    if r["newest"]["share"] is not None:
        require(newest == winning_place(shares, r["block"], newest), "newest is not the winning share")
    previous, size = r["window"].get("previous"), int(r["window"].get("score", 1 << 128))
    after = winning_place(shares, previous, None) if previous else None
    inside = [s for s in shares if place(s) <= newest and (after is None or place(s) > after)]
    by_minute = {}
    for s in inside:
        by_minute.setdefault(minute_of(s["at_ms"]), []).append(s)
    entries, left = [], size
    for minute in sorted(by_minute, reverse=True):
        group = by_minute[minute]
        total = sum(int(s["score"]) for s in group)
        if left == 0:
            break
        if total > left:
            return entries + share_entries(group, left)
        is_cut = minute == minute_of(newest[0] if len(newest) == 2 else newest[0] - 1)
        is_cut = is_cut or (after is not None and minute == minute_of(after[0]))
        entries += part_entries(minute, group) if is_cut else minute_entries(minute, group)
        left -= total
    return entries


# ---- 5. the signature (RFC 8032, 5.1; BIP 350)

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    c, d, e, f = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2), 2 * t1 * t2 * D, 2 * z1 * z2
    e, f, g, h = d - c, f - e, f + e, d + c
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_mul(n, point):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = point_add(out, point)
        point, n = point_add(point, point), n >> 1
    return out


def point(raw):
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    require(y < P, "no point of the curve")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    require((x * x - square) % P == 0 and not (x == 0 and sign), "no point of the curve")
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def has_signed(key, message, signature):
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = point_mul(s, BASE), point_add(point(signature[:32]), point_mul(h, point(key)))
    same = (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0
    return s < ORDER and same


CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32m_key(t):
    prefix, _, data = t.rpartition("1")
    require(prefix == "hhreport" and not set(data) - set(CHARSET), "no public key of reports")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [CHARSET.index(c) for c in data]
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1ffffff) << 5 ^ value
        for i, generator in enumerate((0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3)):
            check ^= generator if top >> i & 1 else 0
    require(check == 0x2bc830a3, "a mistyped public key")
    bits = "".join(f"{CHARSET.index(c):05b}" for c in data[:-6])
    require(len(bits) == 260 and bits.endswith("0000"), "no public key of reports")
    return int(bits[:256], 2).to_bytes(32, "big")


def base64url(raw):
    import base64
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def check_signature(raw, signature, key):
    import base64
    head = base64url(dump({"alg": "EdDSA", "kid": key, "typ": "hh-block-report"}))
    header, middle, rest = signature.encode().partition(b"..")
    require(header == head and middle == b"..", "not the header of this key")
    sig = base64.urlsafe_b64decode(rest + b"=" * (-len(rest) % 4))
    require(len(sig) == 64 and base64url(sig) == rest, "no signature")
    require(has_signed(bech32m_key(key), head + b"." + base64url(raw), sig), "the key has not signed this report")


# ---- what is in a directory

def verify(directory):
    done = ["report"]
    raw = (directory / "report.json").read_bytes()
    r = read_report(raw)
    if (directory / "signature.txt").exists():
        check_signature(raw, (directory / "signature.txt").read_text(), (directory / "key.txt").read_text())
        done.append("signature")
    for path in sorted(directory.glob("proof*.json")):
        own = path.with_name(path.stem.replace("proof", "own", 1) + ".jsonl")
        check_proof(r, path.read_bytes(), lines(own) if own.exists() else None)
        done.append(path.stem)
    if (directory / "edge.jsonl").exists():
        check_edge(r, lines(directory / "edge.jsonl"))
        done.append("edge")
    if (directory / "entries.jsonl").exists():
        report_again(r, lines(directory / "entries.jsonl"), json.loads((directory / "known.json").read_bytes()))
        done.append("entries")
    if (directory / "shares.jsonl").exists():
        entries = entries_of(r, lines(directory / "shares.jsonl"))
        report_again(r, entries, json.loads((directory / "known.json").read_bytes()))
        done.append("shares")
    return done


def main(directories):
    if not directories:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    status = 0
    for directory in map(Path, directories):
        try:
            print(f"{directory.name}: right: {', '.join(verify(directory))}")
        except (Wrong, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            print(f"{directory.name}: WRONG: {error!r}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
