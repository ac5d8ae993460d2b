#!/usr/bin/env python3
"""Verifies a proof that `symbolon audit prove --to FILE` wrote, from the published formats alone (docs/specs/audit.md).

    python3 docs/verify_audit.py FILE GENESIS       GENESIS: the 64 hex digits in the cluster's address; nothing else is trusted

Needs Python 3.9 and the package `cryptography` (PyPI, or Debian's python3-cryptography) for Ed25519 and ECDSA.
Exit code 0: every proof holds. 1: one does not; stderr says why. 2: wrong usage.
"""
import base64, hashlib, json, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

HALF_ORDER = 0x7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8  # of P-256: a larger s is refused
sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
enc = lambda *fields: b"".join(len(field).to_bytes(4, "big") + field for field in fields)
u16, u64 = (lambda number: number.to_bytes(2, "big")), (lambda number: number.to_bytes(8, "big"))

class Refused(Exception): pass
def need(holds, why):
    if not holds: raise Refused(why)

def proto(data):
    """A protobuf message as {field number: [values]}: varints and byte strings are all that these messages hold."""
    fields, at = {}, 0
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            need(at < len(data) and shift < 64, "a message is cut short")
            byte, at = data[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128: return value
    while at < len(data):
        tag = varint()
        need(tag & 7 in (0, 2), "a message has a field of an unknown type")
        value = varint()
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
            need(at <= len(data), "a message is cut short")
        fields.setdefault(tag >> 3, []).append(value)
    return lambda number, default=b"": fields.get(number, [default])[-1] if default is not list else fields.get(number, [])

def ecdsa(key, message, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    need(len(signature) == 64 and s <= HALF_ORDER, "a signature does not have its form")
    serialization.load_der_public_key(key).verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))

def signed_by(note, name, algorithm, key, message):
    """Whether a signed note carries a signature by this key (C2SP signed-note); `message` makes what is signed."""
    text, lines = note.rsplit("\n\n", 1)
    for line in lines.splitlines():
        dash, who, signature = line.split(" ")
        signature = base64.b64decode(signature, validate=True)
        if (dash, who, signature[:4]) == ("—", name, sha256(name.encode(), b"\n", bytes([algorithm]), key)[:4]):
            signed = message(text + "\n", int.from_bytes(signature[4:-64], "big"))
            ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature[-64:], signed.encode())
            return True
    return False

def root_from(hash_, index, size, path):
    """RFC 9162, 2.1.3.2: where a path leads from a leaf."""
    need(0 <= index < size, "the leaf is outside the tree")
    node, last = index, size - 1
    for sibling in path:
        need(last > 0, "a path is too long")
        if node & 1 or node == last:
            hash_ = sha256(b"\1", sibling, hash_)
            while node and not node & 1: node, last = node >> 1, last >> 1
        else: hash_ = sha256(b"\1", hash_, sibling)
        node, last = node >> 1, last >> 1
    need(last == 0, "a path is too short")
    return hash_

def consistent(old, new, old_root, new_root, path):
    """RFC 9162, 2.1.4.2: the larger tree begins with the smaller."""
    if old == new: return need(not path and old_root == new_root, "two trees of one size differ")
    need(0 < old < new, "the trees are in the wrong order")
    path, node, last = ([old_root] if old & (old - 1) == 0 else []) + path, old - 1, new - 1
    need(path, "a path is too short")
    while node & 1: node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        need(last > 0, "a path is too long")
        if node & 1 or node == last:
            first, second = sha256(b"\1", sibling, first), sha256(b"\1", sibling, second)
            while node and not node & 1: node, last = node >> 1, last >> 1
        else: second = sha256(b"\1", second, sibling)
        node, last = node >> 1, last >> 1
    need(last == 0 and (first, second) == (old_root, new_root), "the cosigned and the anchored tree are not of one log")

def verify(proof, roster, genesis):
    cluster, t, log, entry = roster(2), roster(7, 0), proof["node"], proof["entry"]
    identities = {node(1, 0): node(3) for node in map(proto, roster(13, list))}
    def boot(text):
        """A boot statement, by the identity key that the roster names: (node, counter) and the keys of that boot."""
        message = proto(bytes.fromhex(text))
        node, counter = message(1, 0), message(3, 0)
        need(node in identities and message(2) == genesis, "a boot statement is of another roster")
        keys = message(4), message(5), message(6)
        ecdsa(identities[node], enc(b"symbolon/v1/boot", cluster, u16(node), genesis, u64(counter), *keys), message(7))
        return (node, counter), message
    boots = dict(map(boot, proof["boots"]))
    name = lambda kind, node: f"symbolon.invalid/{cluster.hex()}/{kind}/{node}"
    def checkpoint(note):
        own = lambda who, message: who[0] == log and signed_by(note, name("audit", log), 1, message(6), lambda text, _: text)
        need(any(own(*known) for known in boots.items()), "a checkpoint is not signed by the log's node")
        origin, size, root = note.split("\n")[:3]
        need(origin == name("audit", log), "a checkpoint is of another log")
        return int(size), base64.b64decode(root, validate=True)
    statement = lambda label, who, *rest: enc(b"symbolon/v1/" + label, cluster, u16(who[0]), u64(who[1]), *rest)

    leaf = bytes.fromhex(proof["leaf"])
    told, leaf_hash = proto(leaf), sha256(b"\0", leaf)
    need(told(2, 0) == log and (log, told(3, 0)) in boots, "the leaf is of another node or boot")
    note, anchor = proof["cosigned"], proof["anchored"]
    cosigned = lambda text, time: f"cosignature/v1\ntime {time}\n{text}"
    cosigners = {who[0] for who, message in boots.items()
                 if who[0] != log and signed_by(note, name("witness", who[0]), 4, message(6), cosigned)}
    need(len(cosigners) >= t, f"{len(cosigners)} other nodes cosigned the checkpoint; {t} are needed")
    trees = checkpoint(note), checkpoint(anchor["checkpoint"])
    size, root = trees[1]
    for said in anchor["statements"]:
        who = said["node"], said["boot"]
        need(who in boots, "an anchor is stated by an unknown boot")
        message = statement(b"anchored", who, u16(log), u64(size), root, u64(anchor["log_index"]))
        ecdsa(boots[who](4), message, bytes.fromhex(said["signature"]))
    anchored = {said["node"] for said in anchor["statements"]}
    need(len(anchored) >= t, f"{len(anchored)} nodes say that the checkpoint is anchored; {t} are needed")
    (small, small_root), (large, large_root) = sorted(trees)
    path = lambda texts: [bytes.fromhex(text) for text in texts]
    need(root_from(leaf_hash, entry, small, path(proof["inclusion"])) == small_root, "the leaf is not in the tree")
    consistent(small, large, small_root, large_root, path(proof["consistency"]))
    if receipt := proof.get("receipt"):
        who, message = boot(receipt["boot"])
        reply = proto(bytes.fromhex(receipt["reply"]))
        client, request = bytes.fromhex(receipt["client_key"]), bytes.fromhex(receipt["request_hash"])
        answer = statement(b"reply", who, client, request, reply(3), u64(reply(4, 0)), reply(5), u64(reply(6, 0)),
                           u64(reply(7, 0)), reply(8), u64(reply(9, 0)), reply(10))
        beside, at = reply(14, list), reply(13, 0)
        ecdsa(message(4), statement(b"replies", who, root_from(sha256(b"\0", answer), at, reply(12, 0), beside)), reply(15))
        recorded = sha256(b"\0", statement(b"receipt", who, request, u64(entry), leaf_hash))
        need(who[0] == log and at % 2 == 0 and beside[0] == recorded, "the node signed its reply for another entry or leaf")
    return f"{log}:{entry} {told(6 + 1).decode()} {told(10).decode()} {told(11).decode()} " + (
        f"cosigned by {sorted(cosigners)}, anchored by {sorted(anchored)}" + (", as the node signed" if receipt else ""))

def main(path, pinned):
    with open(path, encoding="utf-8") as file: proofs = json.load(file)
    need(proofs["format"] == "symbolon/v1/audit-proof" and proofs["proofs"], "the file holds no proofs")
    body = proto(bytes.fromhex(proofs["roster"]))(1)
    genesis = sha256(enc(b"symbolon/v1/roster", body))
    need(genesis.hex() == pinned, "the roster is not the one of this genesis hash")
    for proof in proofs["proofs"]: print("proven", verify(proof, proto(body), genesis))

if __name__ == "__main__":
    if len(sys.argv) != 3: sys.exit(print(__doc__, file=sys.stderr) or 2)
    try: main(*sys.argv[1:])
    except InvalidSignature: sys.exit("refused: a signature does not hold")
    except (Refused, ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, OSError) as why: sys.exit(f"refused: {why!r}" if not isinstance(why, Refused) else f"refused: {why}")
