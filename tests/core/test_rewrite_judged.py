"""Copies with the footers that people really get, in all four languages, before a judge of its own (tests/judge.py)."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config
from gateway.mail import dkim
from gateway.mail.footer import Footer
from gateway.mail.headers import Unparsable
from gateway.mail.mime import parse
from gateway.mail.plan import Plan, Wants, make_plan
from gateway.mail.rewrite import NotInjectable, Rewritten, rewrite
from gateway.words import LANGUAGES, Words
from tests.acme import write_config
from tests.judge import Case, Verdict, judge
from tests.mail_trees import TOOL, trees
from tests.mails import PAGE, fill, leaf, message, multipart
from tests.odd_mails import odd_mails

SIGNER = dkim.load_signer("acme.example", "cg1", dkim.generate("rsa-sha256"))
PLACEHOLDERS = ("{{unsubscribe_url}}", "%%unsubscribe_url%%")
KEYS = {b"cg1._domainkey.acme.example": dkim.public_record(SIGNER).encode()}


@pytest.fixture(scope="module")
def footers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Footer]:
    config: Config = write_config(tmp_path_factory.mktemp("judged"))
    acme, words = config.controllers["acme"], Words.load()
    return {language: words.footer(acme, acme.streams["newsletter"], "soft_opt_in", language) for language in LANGUAGES}


def judged(raw: bytes, words: Footer, /, *, signed: bool = True, **wants: object) -> tuple[Plan, Rewritten, Verdict]:
    """A copy and what the judge says of it. Raises Unparsable and NotInjectable."""
    plan = make_plan(parse(raw), Wants(**{"marketing": True, "relay": True, **wants}))  # type: ignore[arg-type]
    done = rewrite(plan, fill(footer=words))
    signature = dkim.sign(done.head, done.body, [SIGNER], at=1_700_000_000) if signed else b""
    verdict = judge(Case(
        before=raw, after=signature + done.head + b"\r\n" + done.body, link=PAGE,
        replaced=(*plan.head.tool_uris, *PLACEHOLDERS),
        keys=KEYS if signed else None, relayed=not plan.long_lines, marketing=plan.protection is None,
    ))  # fmt: skip
    return plan, done, verdict


@pytest.mark.parametrize("language", LANGUAGES)
def test_newsletters(corpus: Path, footers: dict[str, Footer], language: str) -> None:
    folder = corpus / "newsletters"
    found = {}
    for entry in json.loads((folder / "index.json").read_text())["messages"]:
        if entry["expect"] != "rewrite":
            continue
        _, _, verdict = judged((folder / entry["file"]).read_bytes(), footers[language])
        wanted = sorted(path for path in (entry["text_body"], entry["html_body"]) if path is not None)
        if verdict.faults or sorted(verdict.edited) != wanted or not verdict.read:
            found[entry["file"]] = (verdict.faults, verdict.edited, wanted)
    assert not found


@pytest.mark.parametrize("language", LANGUAGES)
def test_torture(corpus: Path, footers: dict[str, Footer], language: str) -> None:
    found, passed = {}, 0
    for file in sorted((corpus / "mime-torture").glob("*.eml")):
        try:
            _, _, verdict = judged(file.read_bytes(), footers[language], signed=False)
        except (Unparsable, NotInjectable):
            continue
        passed += 1
        if verdict.faults:
            found[file.name] = verdict.faults
    assert not found
    assert passed > 100


def test_signed(corpus: Path, footers: dict[str, Footer]) -> None:
    folder = corpus / "signed"
    found, passed = {}, 0
    for entry in json.loads((folder / "expected.json").read_text())["messages"]:
        raw = (folder / entry["file"]).read_bytes()
        for marketing in (True, False):
            try:
                _, done, verdict = judged(raw, footers["nl"], marketing=marketing)
            except NotInjectable:
                continue
            passed += 1
            if verdict.faults or verdict.edited or done.body != raw.partition(b"\r\n\r\n")[2]:
                found[entry["file"]] = verdict.faults, verdict.edited
    assert not found
    assert passed > 14


@pytest.mark.parametrize("language", LANGUAGES)
def test_odd_mails(footers: dict[str, Footer], language: str) -> None:
    found = {}
    for name, raw in odd_mails().items():
        try:
            _, _, verdict = judged(raw, footers[language])
        except (NotInjectable, Unparsable) as refused:
            found[name] = repr(refused)
            continue
        if verdict.faults or not verdict.read:
            found[name] = repr(verdict)
    assert not found


@pytest.mark.parametrize(
    "raw",
    [
        message(leaf("<html><head><title>x</title></head><frameset><frame src=x></frameset></html>", "text/html")),
        message(multipart("alternative", leaf("x"), leaf("<frameset><frame src=x></frameset>", "text/html"))),
        message(leaf("<html><body style='display:none'>x</body></html>", "text/html")),
        message(leaf("Gr\u00fc\u00dfe\r\n".encode("latin-1"), cte="8bit", charset="utf-16")),
        message(leaf("begin 644 x", cte="x-uuencode")),
    ],
    ids=["frames", "frames beside a text", "a hidden body", "no UTF-16", "an encoding that nobody reads"],
)
def test_where_nobody_would_see_an_opt_out_there_is_no_copy(footers: dict[str, Footer], raw: bytes) -> None:
    with pytest.raises(NotInjectable):
        judged(raw, footers["nl"])


@given(root=trees(), language=st.sampled_from(LANGUAGES), footer=st.sampled_from(["auto", "always"]))
@settings(max_examples=100, deadline=None)
def test_whatever_the_tree_the_judge_has_nothing_to_say(
    footers: dict[str, Footer], root: bytes, language: str, footer: str
) -> None:
    """A copy of any tree shows one opt-out in all that is displayed, and is the original in everything else."""
    raw = message(root, more=TOOL)
    try:
        _, _, verdict = judged(raw, footers[language], footer=footer, signed=False)
    except NotInjectable:
        return
    assert not verdict.faults
