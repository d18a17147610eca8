"""Verifies a Consentgate ledger without Consentgate: one file, Python 3.9 or later, nothing else.

    python3 verify_ledger.py consentgate.db                    the database itself, opened for reading
    python3 verify_ledger.py ledger.jsonl                      what `consentgate ledger export` wrote
    python3 verify_ledger.py proof.zip                         what `consentgate proof` wrote
    python3 verify_ledger.py FILE --head head.json             and a head that was kept elsewhere
    python3 verify_ledger.py FILE --public-key HEX             heads and proofs have to be signed with this key

Exit code 0: every entry is as it was sealed, and every head is in its chain; of a proof: every file is the one that was
signed, every entry is in the chain up to a signed head, and says what was committed to; 1: something is wrong, each
line says what; 2: wrong usage. Without the head of another day a ledger whose end was cut off together with its end
record looks whole: keep heads elsewhere. Without a key that you got another way a proof may be signed by anybody.

The rules, so that you need not believe this file either. All numbers are big-endian; i is 4 bytes, q is 8 bytes.
content of entry   SHA-256("consentgate-ledger entry 1\\n" + q at + i length of: controller_id, entry_id, kind, subject,
                   public, private, commitment (-1: NULL) + these seven fields in that order)
hash of an entry   SHA-256("consentgate-ledger link 1\\n" + q seq + i length of previous + previous + content)
previous           the hash of the entry with the number before, in the order of entry ids; the first entry, number 1,
                   rests on SHA-256("consentgate-ledger genesis 1\\n" + controller_id)
signed head        Ed25519 over "consentgate-ledger head 1\\n" + q seq + q at + i length of: controller_id, hash + i 0
                   + controller_id + hash
commitment         SHA-256(blind, 32 bytes + private fields), which a proof shows beside the entry
proof              manifest.json holds the SHA-256 of every file; manifest.sig is Ed25519 over
                   "consentgate-proof manifest 1\\n" + manifest.json. chain.jsonl begins each stretch of the chain with
                   number and previous hash, goes on with the contents of all entries, and ends it with a signed head
Times are milliseconds since 1970 UTC. Texts are UTF-8.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import IO, Any

Row = dict[str, Any]
Source = tuple[Iterator[Row], list[Row], dict[bytes, Any]]
COLUMNS = (
    "controller_id", "entry_id", "at", "kind", "subject", "public", "private", "commitment", "seq", "previous", "hash",
)  # fmt: skip
CONTENT = ("controller_id", "entry_id", "kind", "subject", "public", "private", "commitment")
HEAD = ("controller", "seq", "hash", "at", "public_key", "signature")
TEXTS = ("controller_id", "kind", "public")
LONGEST = 1 << 26
"""Bytes of a line, or of the list of a proof, that are read at most: a file packed to fill the memory is refused."""


def content_hash(entry: Row) -> bytes | None:
    """The hash of what an entry says; None where a column holds what it never could."""
    fields = [entry[name] for name in CONTENT]
    try:
        head = struct.pack(">q7i", entry["at"], *(-1 if field is None else len(field) for field in fields))
        return hashlib.sha256(b"consentgate-ledger entry 1\n" + head + b"".join(x or b"" for x in fields)).digest()
    except (TypeError, struct.error):
        return None


def link_hash(content: bytes, seq: int, previous: bytes) -> bytes:
    """The hash of an entry at its place."""
    place = struct.pack(">qi", seq, len(previous))
    return hashlib.sha256(b"consentgate-ledger link 1\n" + place + previous + content).digest()


def entry_hash(entry: Row, seq: int, previous: bytes) -> bytes | None:
    """The hash an entry has at its place; None where a column holds what it never could."""
    content = content_hash(entry)
    return None if content is None else link_hash(content, seq, previous)


class Damaged(Exception):
    """A file that cannot be read to its end; says where it stops making sense."""


def from_database(path: str) -> Source:
    """The entries in order, the signed heads, and the recorded ends of a database."""
    db = sqlite3.connect("file:" + path.replace("?", "%3f").replace("#", "%23") + "?mode=ro", uri=True)
    try:
        heads = db.execute("SELECT controller_id, seq, hash, at, public_key, signature FROM heads").fetchall()
        rows = db.execute("SELECT controller_id, seq, hash FROM tails").fetchall()
    except sqlite3.Error as failed:
        raise Damaged(f"{path} cannot be read: {failed}") from None
    return stored(db, path), [dict(zip(HEAD, row)) for row in heads], {name.encode(): ends for name, *ends in rows}  # noqa: B905


def stored(db: sqlite3.Connection, path: str) -> Iterator[Row]:
    """The entries of a database."""
    columns = ", ".join(f"CAST({name} AS BLOB)" if name in TEXTS else name for name in COLUMNS)
    statement = f"SELECT {columns} FROM ledger ORDER BY ledger.controller_id, ledger.entry_id"  # noqa: S608
    try:
        for row in db.execute(statement):
            yield dict(zip(COLUMNS, row))  # noqa: B905
    except sqlite3.Error as failed:
        raise Damaged(f"{path} cannot be read to its end: {failed}") from None


def from_export(path: str) -> Source:
    """The entries of an export, and the heads it begins with."""
    heads = []
    for row in exported(path):
        if "signature" not in row:
            break
        heads.append(row)
    return (row for row in exported(path) if "signature" not in row), heads, {}


def exported(path: str) -> Iterator[Row]:
    """The lines of an export in its order, which is that of a database."""
    with open(path, "rb") as lines:  # noqa: PTH123
        for number, row in numbered(lines, path):
            try:
                yield head_of(row) if "signature" in row else {name: raw(name, row[name]) for name in COLUMNS}
            except (ValueError, TypeError, KeyError) as wrong:
                raise Damaged(f"{path}: line {number} cannot be read: {wrong}") from None


def numbered(lines: IO[bytes], path: str) -> Iterator[tuple[int, Any]]:
    """The values of lines of JSON, with their numbers."""
    for number, line in enumerate(iter(partial(lines.readline, LONGEST + 1), b""), 1):
        if len(line) > LONGEST:
            raise Damaged(f"{path}: line {number} is longer than any of ours")
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as wrong:
                raise Damaged(f"{path}: line {number} cannot be read: {wrong}") from None


def raw(name: str, value: Any) -> Any:
    """A value of an export as a database has it."""
    if not isinstance(value, str):
        return value
    return value.encode() if name in TEXTS else bytes.fromhex(value)


def head_of(row: Row) -> Row:
    """A head as `consentgate ledger head --json` prints it."""
    at = datetime.fromisoformat(row["at"][:-1] + "+00:00" if row["at"].endswith("Z") else row["at"])
    raw = {name: bytes.fromhex(row[name]) for name in ("hash", "public_key", "signature")}
    return {**row, **raw, "at": round(at.timestamp() * 1000)}


def signed(head: Row) -> bool:
    """Whether a head's signature fits its public key."""
    name = head["controller"].encode()
    numbers = struct.pack(">qq3i", head["seq"], head["at"], len(name), len(head["hash"]), 0)
    whole = b"consentgate-ledger head 1\n" + numbers + name + head["hash"]
    return ed25519(head["public_key"], head["signature"], whole)


P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def ed25519(public_key: bytes, signature: bytes, text: bytes) -> bool:
    """Whether an Ed25519 signature is good (RFC 8032, 5.1.7), in plain arithmetic so that nothing need be installed."""
    a, r = point(public_key), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + text).digest(), "little") % L
    x1, y1, z1, _ = times(s, BASE)
    x2, y2, z2, _ = plus(r, times(k, a))
    return (x1 * z2 - x2 * z1) % P == 0 and (y1 * z2 - y2 * z1) % P == 0


def point(encoded: bytes) -> Point | None:
    """A point of the curve (RFC 8032, 5.1.3); None where there is none."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    if len(encoded) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def plus(one: Point, other: Point) -> Point:
    """The sum of two points (RFC 8032, 5.1.4)."""
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a, b, c, d = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2), 2 * t1 * t2 * D, 2 * z1 * z2
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n: int, one: Point) -> Point:
    """n times a point."""
    total: Point = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = plus(total, one)
        one, n = plus(one, one), n >> 1
    return total


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)


class Chain:
    """One controller's chain while it is walked."""

    def __init__(self, controller: bytes) -> None:
        self.name = controller.decode(errors="replace") or "(everywhere)"
        self.seq, self.unsealed = 0, 0
        self.last = hashlib.sha256(b"consentgate-ledger genesis 1\n" + controller).digest()

    def take(self, entry: Row) -> str | None:
        """What is wrong with the next entry; None where nothing is."""
        seq = entry["seq"]
        if entry["hash"] is None and seq is None:
            self.unsealed += 1
            return None
        wrong = None
        if self.unsealed:
            wrong = "stands behind an entry that was never sealed"
        elif seq != self.seq + 1:
            wrong = f"should be number {self.seq + 1}: entries are missing, moved or put in"
        elif entry["previous"] != self.last:
            wrong = "does not rest on the entry before it: one of them was changed"
        elif entry_hash(entry, seq, self.last) != entry["hash"]:
            wrong = "was changed after it was sealed"
        if isinstance(seq, int) and isinstance(entry["hash"], bytes):
            self.seq, self.last = seq, entry["hash"]
        return wrong


class Verification:
    """All chains of one file; each fault is a line on standard output."""

    def __init__(self) -> None:
        self.faults = 0
        self.chains: dict[bytes, Chain] = {}

    def chain(self, controller: bytes) -> Chain:
        """The chain of a controller."""
        if controller not in self.chains:
            self.chains[controller] = Chain(controller)
        return self.chains[controller]

    def fault(self, text: str) -> None:
        """Something is wrong."""
        self.faults += 1
        say(text)

    def entries(self, entries: Iterator[Row], heads: list[Row]) -> None:
        """Walk every entry, and look whether it is the one that was signed."""
        wanted = {(head["controller"].encode(), head["seq"], head["hash"]): head for head in heads}
        for entry in entries:
            chain = self.chain(entry["controller_id"])
            wrong = chain.take(entry)
            if wrong is not None:
                named = entry["entry_id"].hex() if isinstance(entry["entry_id"], bytes) else entry["entry_id"]
                self.fault(f"{chain.name}: entry {entry['seq']} ({named}) {wrong}")
            wanted.pop((entry["controller_id"], entry["seq"], entry["hash"]), None)
        for head in wanted.values():
            self.fault(f"{head['controller']}: entry {head['seq']} as it was signed is not there")

    def ends(self, ends: dict[bytes, Any]) -> None:
        """Whether each chain ends where the database says."""
        for controller, (seq, made) in ends.items():
            chain = self.chain(controller)
            if (chain.seq, chain.last) != (seq, made):
                self.fault(f"{chain.name}: ends at entry {chain.seq}, and was recorded to end at entry {seq}")

    def signatures(self, heads: list[Row], public_key: bytes | None) -> None:
        """Whether each head was signed, and with the right key where that is known."""
        for head in heads:
            named = f"{head['controller']}: the head of entry {head['seq']}"
            if not signed(head):
                self.fault(f"{named} has a signature that does not fit")
            if public_key is not None and head["public_key"] != public_key:
                self.fault(f"{named} is signed with another key")


class Proof:
    """One proof: a ZIP of files, a signed list of them, entries of a ledger and the chain they stand in."""

    def __init__(self, found: Verification, path: str, public_key: bytes | None) -> None:
        self.found, self.path, self.pinned = found, path, public_key
        self.keys: list[bytes] = []
        self.entries: dict[tuple[str, int], tuple[bytes, bytes]] = {}
        """Number by controller: what an entry says (hash), and its hash in the chain."""

    def check(self) -> None:
        """Everything there is to check."""
        try:
            with zipfile.ZipFile(self.path) as files:
                names = files.namelist()
                if len(set(names)) < len(names):
                    self.found.fault("a file is in the ZIP twice")
                manifest = self.manifest(files)
                for name in sorted(set(names) - set(manifest) - {"manifest.json", "manifest.sig"}):
                    self.found.fault(f"{name}: is not in the signed list: it was put in")
                good = [name for name, said in manifest.items() if self.file(files, name, said)]
                if "ledger.jsonl" in good:
                    self.ledger(files)
                if "chain.jsonl" in good:
                    self.chain(files)
                for controller, seq in sorted(self.entries):
                    self.found.fault(f"{controller or '(everywhere)'}: entry {seq} is in no stretch of the chain")
                for name in good:
                    if name.startswith("wordings/") and name[9:-5] != manifest[name]["sha256"]:
                        self.found.fault(f"{name}: its name is not its digest")
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, OSError) as wrong:
            self.found.fault(f"{self.path} cannot be read to its end: {wrong}")

    def manifest(self, files: zipfile.ZipFile) -> dict[str, Any]:
        """The signed list of files."""
        whole, signature = self.small(files, "manifest.json"), self.small(files, "manifest.sig")
        said = json.loads(whole)
        key = bytes.fromhex(said["public_key"])
        self.keys = [key, *map(bytes.fromhex, said["public_keys"])]
        if not ed25519(key, bytes.fromhex(signature.decode()), b"consentgate-proof manifest 1\n" + whole):
            self.found.fault("manifest.json: the signature does not fit: the list was changed")
        if self.pinned is not None and key != self.pinned:
            self.found.fault("manifest.json: is signed with another key")
        say(f"proof about {json.dumps(said['about'], ensure_ascii=False)} of {said['controller']}, {said['made_at']}")
        say(f"signed with {key.hex()}")
        listed: dict[str, Any] = said["files"]
        return listed

    def small(self, files: zipfile.ZipFile, name: str) -> bytes:
        """A file that is read whole."""
        with files.open(name) as content:
            whole = content.read(LONGEST + 1)
        if len(whole) > LONGEST:
            raise Damaged(f"{name} is larger than any of ours")
        return whole

    def file(self, files: zipfile.ZipFile, name: str, said: Row) -> bool:
        """Whether a file is the one that was signed."""
        digest, size = hashlib.sha256(), 0
        try:
            with files.open(name) as content:
                while size <= said["bytes"] and (piece := content.read(1 << 20)):
                    digest.update(piece)
                    size += len(piece)
        except KeyError:
            self.found.fault(f"{name}: is missing")
            return False
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as wrong:
            self.found.fault(f"{name}: cannot be read: {wrong}")
            return False
        if (digest.hexdigest(), size) != (said["sha256"], said["bytes"]):
            self.found.fault(f"{name}: is not the file that was signed")
            return False
        return True

    def ledger(self, files: zipfile.ZipFile) -> None:
        """The entries: what they commit to, and the hash of what they say."""
        with files.open("ledger.jsonl") as lines:
            for number, row in numbered(lines, "ledger.jsonl"):
                entry = {name: raw(name, row[name]) for name in COLUMNS}
                named = f"ledger.jsonl: line {number}: entry {entry['seq']} ({row['entry_id']})"
                content = content_hash(entry)
                if content is None or link_hash(content, entry["seq"], entry["previous"]) != entry["hash"]:
                    self.found.fault(f"{named} is not what was sealed")
                    continue
                shown = row["opened"]
                if shown is not None:
                    whole = bytes.fromhex(shown["blind"]) + shown["private"].encode()
                    if hashlib.sha256(whole).digest() != entry["commitment"]:
                        self.found.fault(f"{named} did not commit to the private fields that are shown")
                place = row["controller_id"], entry["seq"]
                if place in self.entries:  # else the last one would speak for all that say they are it
                    self.found.fault(f"{named} is shown twice: one of them may be made up")
                self.entries[place] = (content, entry["hash"])

    def chain(self, files: zipfile.ZipFile) -> None:
        """The stretches: each leads from hash to hash to a signed head, and our entries stand in them."""
        controller, seq, last = "", 0, b""
        with files.open("chain.jsonl") as lines:
            for number, row in numbered(lines, "chain.jsonl"):
                if isinstance(row, str):
                    content = bytes.fromhex(row)
                    last = link_hash(content, seq, last)
                    if self.entries.get((controller, seq), (content, last)) != (content, last):
                        self.found.fault(f"chain.jsonl: line {number}: entry {seq} is another one than is shown")
                    self.entries.pop((controller, seq), None)
                    seq += 1
                elif "signature" not in row:
                    self.over(number, last)
                    controller, seq, last = row["controller_id"], row["first"], bytes.fromhex(row["previous"])
                else:
                    self.end(number, head_of(row), (controller, seq - 1, last))
                    controller, seq, last = "", 0, b""
        self.over(0, last)

    def over(self, number: int, last: bytes) -> None:
        """No stretch may be left open: one that leads to no signed head proves nothing."""
        if last:
            self.found.fault(f"chain.jsonl: a stretch before line {number or 'the end'} does not end at a signed head")

    def end(self, number: int, head: Row, reached: tuple[str, int, bytes]) -> None:
        """A head, and whether the stretch before it leads to it; a head may stand alone."""
        named = f"chain.jsonl: line {number}: the head of entry {head['seq']}"
        if not signed(head):
            self.found.fault(f"{named} has a signature that does not fit")
        if head["public_key"] not in self.keys:
            self.found.fault(f"{named} is signed with another key")
        if reached != ("", -1, b"") and reached != (head["controller"], head["seq"], head["hash"]):
            self.found.fault(f"{named} is not what the entries before it lead to")


def say(text: str) -> None:
    """One line, whatever a name in the file holds: no line of its own, nothing that moves on a screen."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    sys.stdout.buffer.write(plain.encode(sys.stdout.encoding or "utf-8", "backslashreplace") + b"\n")


def main(words: list[str]) -> int:
    """Run with the words of the command line; the exit code."""
    options: dict[str, list[str]] = {"--head": [], "--public-key": []}
    files = []
    while words:
        word = words.pop(0)
        if word in options and words:
            options[word].append(words.pop(0))
        else:
            files.append(word)
    try:
        keys = [bytes.fromhex(text) for text in options["--public-key"]]
    except ValueError:
        files = []
    if len(files) != 1 or files[0].startswith("-"):
        sys.stderr.write((__doc__ or "").partition("\n\nThe rules")[0] + "\n")
        return 2
    found = Verification()
    try:
        check(found, files[0], options["--head"], keys[-1] if keys else None)
    except Damaged as damaged:
        found.fault(str(damaged))
    except OSError as failed:
        sys.stderr.write(f"{failed.filename}: {failed.strerror}\n")
        return 2
    except Exception as wrong:  # what cannot be understood was made to look like ours, and is not
        found.fault(f"{files[0]} holds what no file of ours holds: {type(wrong).__name__}: {wrong}")
    for chain in found.chains.values():
        waiting = f", {chain.unsealed} not sealed yet" if chain.unsealed else ""
        say(f"{chain.name}: {chain.seq} entries{waiting}, ends with {chain.last.hex()}")
    say(f"{found.faults} faults" if found.faults else "whole")
    return 1 if found.faults else 0


def check(found: Verification, path: str, head_files: list[str], public_key: bytes | None) -> None:
    """Everything there is to check about a database or an export."""
    with open(path, "rb") as file:  # noqa: PTH123
        begins = file.read(16)
    if begins[:4] == b"PK\3\4":
        Proof(found, path, public_key).check()
        return
    is_database = begins == b"SQLite format 3\0"
    entries, heads, ends = (from_database if is_database else from_export)(path)
    for name in head_files:
        heads += [row for row in exported(name) if "signature" in row]
    found.entries(entries, heads)
    found.ends(ends)
    found.signatures(heads, public_key)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
