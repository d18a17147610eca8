"""A proof is made by the program, and checked without it, in an empty folder; whatever is changed in it is found."""

import contextlib
import hashlib
import html
import io
import json
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gateway import verifier as verifier_file
from gateway.bundle import Bundle, BundleTaken
from gateway.keys import key_ring
from gateway.prove import head_keys
from gateway.store.contract import SuppressionRow
from gateway.store.proof import Passage
from gateway.testify import Witness, about_person, left_after
from gateway.weigh import Case
from suppression.evidence import Choice, Wording
from tests.installation import ANNA, KLEED, NIEMAND, WIM, Installation, consent, lines_of, newsletter, order
from tests.story.relay import Relay, config_of, fresh, load, load_people, one_click_url, with_store
from tests.story.sign_ups import forms

FORM = Wording(
    name="w1", language="nl", layout="Nieuwsbrief van Acme", layout_type="text/plain", notice_version="pn1",
    notice_url=None,
    choices=(Choice(purpose="newsletter", text="Ja, mail mij <b>de</b> nieuwsbrief", ticked=False),),
)  # fmt: skip


def campaign(subject: str) -> bytes:
    return b"X-Consentgate-Campaign: najaar\r\n" + newsletter(subject)


AUTUMN = campaign("Najaarswijn")


@pytest.fixture(scope="module")
def told(relay: Relay) -> Installation:
    """anna got mail, unsubscribed and was kept out after that; wim and kleed were in the same campaign."""
    installation = relay.installation
    with_store(installation, lambda store, _: store.keep_wording("acme", FORM, at=datetime.now(UTC)))
    mail = relay.passes(ANNA, AUTUMN)
    relay.passes(WIM, AUTUMN)
    assert relay.kept_out(KLEED, AUTUMN) == "PRODUCT_NOT_SIMILAR"
    assert relay.one_click(one_click_url(mail)).status_code == 200
    assert relay.kept_out(ANNA, campaign("Nog een")) == "SUPPRESSED_PURPOSE"
    relay.passes(ANNA, order(ANNA), login="orders", sender="orders@acme.example")
    return installation


@pytest.fixture(scope="module")
def verifier(told: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of one file, alone in a folder."""
    file = tmp_path_factory.mktemp("elsewhere") / "verify_ledger.py"
    file.write_bytes(told.tool("ledger", "verifier").stdout)
    return file


@pytest.fixture(scope="module")
def proof(told: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proved(told, tmp_path_factory.mktemp("proof") / "anna.zip", "--person", ANNA)


def proved(installation: Installation, out: Path, *words: str) -> Path:
    done = installation.tool("proof", "--out", out, *words)
    assert done.returncode == 0, done.stderr.decode()
    return out


def checked(verifier: Path, file: Path, *words: str) -> tuple[int, str]:
    """Without the product and without any package, as on a machine of somebody else."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", verifier.name, str(file), *words], cwd=verifier.parent, capture_output=True,
        text=True, env={},
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def contents(proof: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(proof) as files:
        return {name: files.read(name) for name in files.namelist()}


def rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def written(file: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return file


def test_a_proof_is_good_on_a_machine_without_the_product(told: Installation, proof: Path, verifier: Path) -> None:
    code, said = checked(verifier, proof)
    assert code == 0 and said.endswith("whole\n"), said
    key = json.loads(contents(proof)["manifest.json"])["public_key"]
    assert lines_of(told.tool("ledger", "head", "--json"))[0]["public_key"] == key
    assert checked(verifier, proof, "--public-key", key)[0] == 0
    code, said = checked(verifier, proof, "--public-key", "00" * 32)
    assert code == 1 and "another key" in said


def test_the_digest_is_that_of_the_message_as_it_was_handed_in(proof: Path) -> None:
    (first, *_) = rows(contents(proof)["decisions.jsonl"])
    assert (first["message_sha256"], first["message_bytes"]) == (hashlib.sha256(AUTUMN).hexdigest(), len(AUTUMN))


def test_it_tells_what_was_agreed_sent_and_stopped(proof: Path) -> None:
    files = contents(proof)
    person = json.loads(files["person.json"])
    assert person["address"] == ANNA
    assert person["consents"][0]["purposes"] == ["newsletter"] and person["consents"][0]["withdrawn_at"]
    assert [one["kind"] for one in person["recorded"]] == ["consent", "suppression", "withdrawal", "looked_at"]
    decisions = rows(files["decisions.jsonl"])
    assert [(one["state"], one["reason_code"]) for one in decisions] == [
        ("delivered", "ALLOW_OPT_IN"), ("blocked", "SUPPRESSED_PURPOSE"), ("delivered", "ALLOW_TRANSACTIONAL"),
    ]  # fmt: skip
    assert all(one["cite"] and one["trace"] and one["packs"] and one["as_of"] for one in decisions)
    (stop,) = json.loads(files["opt_outs.json"])
    assert (stop["channel"], stop["purpose"], stop["marketing_after"]) == ("one-click", "newsletter", [])
    (wording,) = json.loads(files["wordings.json"])
    assert wording["name"] == "w1" and files[f"wordings/{wording['sha256']}.json"] == FORM.content()
    assert "wording" in {one["kind"] for one in rows(files["ledger.jsonl"])}


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_shows(proof: Path) -> None:
    page = contents(proof)["index.html"].decode()
    assert not re.search(r"<script|<link|<img|src=|href=|@import|\son[a-z]+=|url\(", page)
    assert "&lt;b&gt;de&lt;/b&gt;" in page and ANNA in page and "Najaarswijn" in page

    class Balanced(HTMLParser):
        open: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


@pytest.mark.parametrize("language", ["nl", "en", "fr", "de"])
def test_the_page_speaks_the_language_asked_for(told: Installation, tmp_path: Path, language: str) -> None:
    page = contents(proved(told, tmp_path / "p.zip", "--person", ANNA, "--language", language))["index.html"].decode()
    assert f'<html lang="{language}">' in page
    sentences = {"nl": "geen reclame meer", "en": "No marketing", "fr": "Aucune publicité", "de": "keine Werbung"}
    assert sentences[language] in page


def test_making_a_proof_is_written_down(told: Installation, tmp_path: Path) -> None:
    before = rows(contents(proved(told, tmp_path / "1.zip", "--person", WIM))["ledger.jsonl"])
    after = rows(contents(proved(told, tmp_path / "2.zip", "--person", WIM))["ledger.jsonl"])
    assert [one["kind"] for one in after] == [*(one["kind"] for one in before), "looked_at"]


def test_a_file_that_proves_a_consent_is_in_it_as_it_was_given(
    told: Installation, tmp_path: Path, verifier: Path
) -> None:
    scan = _file(tmp_path / "Form & scan.pdf", b"%PDF-1.4 signed")
    assert told.tool("consent", "attach", WIM, scan, "--note", "<i>on paper</i>").returncode == 0
    proof = proved(told, tmp_path / "p.zip", "--person", WIM)
    assert checked(verifier, proof)[0] == 0
    files = contents(proof)
    (row,) = json.loads(files["attachments.json"])
    assert files[row["file"]] == scan.read_bytes() and row["sha256"] == hashlib.sha256(scan.read_bytes()).hexdigest()
    assert "&lt;i&gt;on paper&lt;/i&gt;" in files["index.html"].decode()


async def test_the_mail_that_asked_to_confirm_is_told_and_when_it_was_confirmed(tmp_path: Path, verifier: Path) -> None:
    async with forms(tmp_path) as here:
        await here.click(await here.asked("nieuw@example.org"))
        world = here.world
        witness = Witness(
            store=world.store, config=world.config, words=world.words, ring=world.ring, language="nl", by="test",
            now=world.now,
        )  # fmt: skip
        done = await about_person(witness, world.config.controllers["acme"], "nieuw@example.org", tmp_path / "p.zip")
    assert done.entries >= 2 and checked(verifier, done.path)[0] == 0
    files = contents(done.path)
    recorded = json.loads(files["person.json"])["recorded"]
    (asked,) = [one["said"] for one in recorded if one["kind"] == "opt_in_requested"]
    page = html.unescape(files["index.html"].decode())
    assert asked["sign_up"]["mail"]["text"].splitlines()[0] in page
    assert "Bevestigd vanuit de mailbox" in page and "opt_in_confirmed" in {one["kind"] for one in recorded}


# tampering


def flipped(content: bytes) -> Iterator[bytes]:
    for place in sorted({0, len(content) // 3, len(content) // 2, len(content) - 2}):
        yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    yield content[:-1]
    yield content + b" "
    yield b""


def test_any_file_that_was_changed_taken_out_or_put_in_is_found(proof: Path, verifier: Path, tmp_path: Path) -> None:
    files = contents(proof)
    assert len(files) == 12
    tried = 0
    for name, content in files.items():
        for other in flipped(content) if content else (b"x",):
            if name == "manifest.sig" and bytes.fromhex(content.decode()) == _hex(other):
                continue  # white space around the signature says nothing
            code, said = in_process(written(tmp_path / "t.zip", {**files, name: other}))
            assert code == 1 and (name in said or name.startswith("manifest")), (name, said)
            tried += 1
        code, said = checked(verifier, written(tmp_path / "t.zip", {k: v for k, v in files.items() if k != name}))
        assert code == 1 and name in said
    assert tried > 50
    code, said = checked(verifier, written(tmp_path / "t.zip", {**files, "extra.txt": b"x"}))
    assert code == 1 and "extra.txt" in said
    whole = proof.read_bytes()
    code, _ = checked(verifier, _file(tmp_path / "t.zip", whole[: len(whole) // 2]))
    assert code == 1


BAD_LINES = (b"[" * 100_000, b'"signature"', b"[1]", b"7", b'{"a":' * 9_000, b"\xff", b"{}", b'{"signature": 1}')


@pytest.mark.parametrize("name", ["manifest.json", "ledger.jsonl", "chain.jsonl"])
def test_the_verifier_never_falls_over_what_it_is_given(
    proof: Path, verifier: Path, tmp_path: Path, name: str
) -> None:  # fmt: skip
    """Values of other kinds, nested without end, numbers past every bound: a fault each, never a traceback."""
    files = contents(proof)
    lines = files[name].splitlines() if name != "manifest.json" else [files[name]]
    tries = [b"\n".join([bad, *lines]) for bad in BAD_LINES]
    for line in {lines[0], lines[-1]}:
        row = json.loads(line)
        if isinstance(row, dict):
            for field in row:
                others: tuple[Any, ...] = (None, -1, 1 << 70, 1.5, "x", [], {}, "\ud800", "\n\x1b[2Jwhole")
                rows = [json.dumps({**row, field: other}).encode() for other in others]
                tries += [b"\n".join([made, *lines[1:]]) for made in rows]
    for content in tries:
        bad = {**files, name: content}
        manifest = json.loads(files["manifest.json"])
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        if name != "manifest.json":  # the list fits: the file itself is read
            bad["manifest.json"] = json.dumps(manifest).encode()
        written(tmp_path / "t.zip", bad)
        code, text = in_process(tmp_path / "t.zip")
        assert code == 1 and text.endswith(" faults\n"), (content[:80], text)
        assert "\x1b" not in text and "\nwhole\n" not in text


def test_a_zip_that_nobody_can_read_is_a_fault(proof: Path, tmp_path: Path) -> None:
    """Locked members, unknown methods of packing, and a list packed to fill the memory."""
    whole = bytearray(proof.read_bytes())
    for place, value in ((6, 1), (8, 99)):  # flags and method of a local header; two bytes later in the directory
        bad = bytearray(whole)
        for mark, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
            at = bad.find(mark)
            while at >= 0:
                bad[at + place + shift] = value
                at = bad.find(mark, at + 4)
        assert in_process(_file(tmp_path / "t.zip", bytes(bad)))[0] == 1
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("manifest.json", bytes(verifier_file.LONGEST + 2))
        packed.writestr("manifest.sig", "")
    code, said = in_process(tmp_path / "t.zip")
    assert code == 1 and "larger than any of ours" in said


def in_process(file: Path) -> tuple[int, str]:
    """The verifier's own main, which saves the start of a process."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out):
        code = verifier_file.main([str(file)])
    return code, out.buffer.getvalue().decode()


def _hex(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(text.decode())
    except ValueError:
        return None


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


Change = Callable[[dict[str, bytes]], None]


def line_changed(name: str, place: int, change: Callable[[Any], Any]) -> Change:
    def changed(files: dict[str, bytes]) -> None:
        lines = files[name].splitlines(keepends=True)
        value = change(json.loads(lines[place]))
        at = place % len(lines)
        lines[at : at + 1] = [] if value is None else [json.dumps(value).encode() + b"\n"]
        files[name] = b"".join(lines)

    return changed


def _later(opened: dict[str, Any]) -> dict[str, Any]:
    private = json.loads(opened["opened"]["private"]) | {"given_at": "2020-01-01T00:00:00Z"}
    return {**opened, "opened": {**opened["opened"], "private": json.dumps(private)}}


def _made_up(files: dict[str, bytes]) -> None:
    """An entry that says what it likes, fits itself, and stands before the true one under the same number."""
    first, newline, rest = files["ledger.jsonl"].partition(b"\n")
    row = json.loads(first)
    private = json.dumps(json.loads(row["opened"]["private"]) | {"given_at": "2020-01-01T00:00:00Z"})
    blind = bytes(32)
    row["commitment"] = hashlib.sha256(blind + private.encode()).hexdigest()
    row["opened"] = {**row["opened"], "blind": blind.hex(), "private": private}
    entry = {name: verifier_file.raw(name, row[name]) for name in verifier_file.COLUMNS}
    made = verifier_file.entry_hash(entry, entry["seq"], entry["previous"])
    assert made is not None
    row["hash"] = made.hex()
    files["ledger.jsonl"] = json.dumps(row).encode() + newline + first + newline + rest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_made_up, "is shown twice"),
        (line_changed("ledger.jsonl", 0, _later), "did not commit to the private fields"),
        (line_changed("ledger.jsonl", 0, lambda row: {**row, "at": row["at"] - 1000}), "is not what was sealed"),
        (line_changed("ledger.jsonl", 0, lambda row: {**row, "seq": row["seq"] + 1}), "is not what was sealed"),
        (
            line_changed("chain.jsonl", 2, lambda content: content[:-1] + ("0" if content[-1] == "f" else "f")),
            "is not what the entries before it",
        ),
        (line_changed("chain.jsonl", 2, lambda _: None), "is not what the entries before it"),
        (line_changed("chain.jsonl", -1, lambda head: {**head, "seq": head["seq"] - 1}), "signature that does not fit"),
        (line_changed("chain.jsonl", -1, lambda _: None), "does not end at a signed head"),
    ],
)
def test_who_could_sign_anew_still_cannot_change_what_the_ledger_says(
    told: Installation, proof: Path, verifier: Path, tmp_path: Path, change: Change, named: str
) -> None:
    """Even with the installation key in hand the list alone can be signed again, and the chain says no."""
    files = contents(proof)
    change(files)
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
        for name in manifest["files"]
    }
    files["manifest.json"] = json.dumps(manifest).encode()
    signature = head_keys(key_ring(config_of(told))).sign_manifest(files["manifest.json"])
    files["manifest.sig"] = signature.hex().encode()
    code, said = checked(verifier, written(tmp_path / "t.zip", files))
    assert code == 1 and named in said, said


# campaigns


def test_a_campaign_is_proved_by_keys_alone(told: Installation, verifier: Path, tmp_path: Path) -> None:
    out = proved(told, tmp_path / "c.zip", "--campaign", "najaar")
    assert checked(verifier, out)[0] == 0
    files = contents(out)
    counts = {(one["state"], one["reason_code"]): one["copies"] for one in json.loads(files["counts.json"])}
    assert counts == {
        ("delivered", "ALLOW_OPT_IN"): 1, ("delivered", "ALLOW_SOFT_OPT_IN"): 1, ("blocked", "PRODUCT_NOT_SIMILAR"): 1,
        ("blocked", "SUPPRESSED_PURPOSE"): 1,
    }  # fmt: skip
    assert len({one["recipient"] for one in rows(files["recipients.jsonl"])}) == 3
    assert not any(address.encode() in content for content in files.values() for address in (ANNA, WIM, KLEED))
    named = contents(proved(told, tmp_path / "d.zip", "--campaign", "najaar", "--addresses"))
    assert {one["address"] for one in rows(named["recipients.jsonl"])} == {ANNA, WIM, KLEED}
    export = lines_of(told.tool("ledger", "export"))
    noted = [json.loads(one["public"]) for one in export if one.get("kind") == "staff_act"]
    assert [(one["act"], one["addresses"]) for one in noted] == [("proof of a campaign", n) for n in (False, True)]


# refusals


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--person", NIEMAND), "nothing is on file"),
        (("--person", "no address"), "not an e-mail address"),
        (("--campaign", "zomer"), "no campaign 'zomer'"),
        (("--campaign", "najaar", "--stream", "events"), "no campaign 'najaar'"),
        ((), "Give one of"),
        (("--person", ANNA, "--campaign", "najaar"), "Give one of"),
    ],
)
def test_what_cannot_be_proved_is_refused_and_leaves_no_file(
    told: Installation, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = told.tool("proof", "--out", tmp_path / "p.zip", *words)
    usage = said == "Give one of"
    assert done.returncode == (2 if usage else 1) and said in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_left_alone(told: Installation, tmp_path: Path) -> None:
    file = _file(tmp_path / "p.zip", b"mine")
    done = told.tool("proof", "--out", file, "--person", ANNA)
    assert done.returncode == 1 and b"is there already" in done.stderr
    assert file.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [file]


def test_two_bundles_of_one_name_do_not_touch_each_other(tmp_path: Path) -> None:
    place, at = tmp_path / "p.zip", datetime(2026, 11, 1, tzinfo=UTC)
    with Bundle(place, at) as slow:
        slow.add("a.txt", b"slow" * 1000)
        with Bundle(place, at) as quick:
            quick.add("a.txt", b"quick")
            quick.seal({}, lambda manifest: b"")
        with pytest.raises(BundleTaken):
            slow.seal({}, lambda manifest: b"")
    assert list(tmp_path.iterdir()) == [place] and place.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(place) as made:
        assert made.testzip() is None and made.read("a.txt") == b"quick"


def test_no_proof_is_made_of_a_ledger_that_was_changed(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    load(installation, "consents", [consent(f"p{n}@example.org") for n in range(5)])
    with sqlite3.connect(installation.dir / "consentgate.db") as db:
        db.execute("DROP TRIGGER ledger_fixed")
        db.execute("UPDATE ledger SET at = at + 1 WHERE seq = 5")
    db.close()
    done = installation.tool("proof", "--out", tmp_path / "p.zip", "--person", ANNA)
    assert done.returncode == 1 and b"entry 5 is not what was sealed" in done.stderr
    assert not list(tmp_path.glob("p.zip*"))


# what left after an opt-out


def passage(after: timedelta, **changes: Any) -> Passage:
    at = NOON + after
    case: dict[str, Any] = {"message_class": "marketing", "purpose": "newsletter"}
    case |= {name: changes.pop(name) for name in ("purpose", "message_class") if name in changes}
    kind = Case(
        promotional=False, categories=(), transaction_ref=False, restriction_exemption=None, unsubscribe="injectable",
        from_domain="acme.example", **case,
    ).to_json()  # fmt: skip
    given: dict[str, Any] = {
        "message_id": b"m", "copy_no": 0, "recipient_key": b"r", "address": None, "accepted_at": at,
        "stream": "newsletter", "campaign": "c", "mode": "enforce", "kind": kind, "subject": "", "size": 1,
        "digest": None, "state": "delivered", "verdict": "allow", "reason_code": "ALLOW_OPT_IN", "accept_code": "",
        "cite": "", "as_of": at, "basis": "opt_in", "packs": "NL", "trace": (), "ended_at": at, "reply": None,
    }  # fmt: skip
    return Passage(**{**given, **changes})


NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
STOP = SuppressionRow(
    controller_id="acme", recipient_key=b"r", suppression_id=b"s", scope="purpose", purpose="newsletter",
    reason="unsubscribe", source="page", at=NOON, lifted_at=NOON + timedelta(days=1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("one", "late"),
    [
        (passage(timedelta(seconds=2)), True),
        (passage(timedelta(seconds=1)), False),
        (passage(timedelta(seconds=-5)), False),
        (passage(timedelta(days=2)), False),
        (passage(timedelta(seconds=2), state="blocked"), False),
        (passage(timedelta(seconds=2), state="captured"), False),
        (passage(timedelta(seconds=2), purpose="events"), False),
        (passage(timedelta(seconds=2), message_class="transactional"), False),
    ],
)
def test_marketing_after_an_opt_out_is_told(one: Passage, late: bool) -> None:
    assert bool(left_after(STOP, [one])) is late


def test_after_a_consent_given_anew_mail_of_its_purpose_is_not_held_against_anybody() -> None:
    anew = NOON + timedelta(days=1)
    stop = replace(STOP, scope="sender", purpose=None, lifted_at=None, lifted_for=(("newsletter", anew),))
    before, after = passage(timedelta(hours=23)), passage(timedelta(hours=25))
    assert left_after(stop, [before, after]) == [before]
    other = passage(timedelta(hours=25), purpose="events")
    assert left_after(stop, [other]) == [other]
    assert left_after(replace(STOP, purpose=None, lifted_at=None), [other]) == [other]
