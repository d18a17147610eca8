"""A campaign is rehearsed over SMTP, looked at, and its lawful part released; lists are simulated without a trace."""

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.installation import ANNA, KLEED, NIEMAND, ROOT, WIM, Installation, Make, consent, lines_of, newsletter
from tests.story.relay import load, load_people, on_both, relaying
from tests.story.test_modes import observing
from tests.story.test_reload import reload

MODE = 'categories = ["wine"]\n'
SENDER = "news@acme.example"


def campaign_mail(name: str, subject: str = "Proef") -> bytes:
    """A newsletter that names its campaign."""
    return newsletter(subject).replace(b"Subject:", b"X-Consentgate-Campaign: " + name.encode() + b"\r\nSubject:", 1)


@pytest.fixture
def installation(make: Make, tmp_path: Path) -> Installation:
    place = make(tmp_path / "installation")
    load_people(place)
    place.change(MODE, MODE + 'mode = "rehearse"\n')
    return place


def states(installation: Installation) -> Counter[str]:
    rows = installation.ask("SELECT state, count(*) FROM copies GROUP BY state")
    return Counter({state: int(count) for state, count in rows})


def rows_of_everything(installation: Installation) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(f"file:{installation.dir}/consentgate.db?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


@on_both
def test_the_lawful_part_leaves_and_nothing_else(installation: Installation) -> None:
    with relaying(installation) as relay:
        relay.taken([ANNA, WIM, KLEED, NIEMAND], campaign_mail("c1"))
        relay.taken([KLEED], campaign_mail("c1"))
        [verdict] = lines_of(installation.tool("simulate", "--campaign", "c1", "--json"))
        assert (verdict["recipients"], verdict["allowed"], verdict["blocked"], verdict["open"]) == (5, 2, 3, 5)
        assert verdict["by_reason"]["PRODUCT_NOT_SIMILAR"] == 2
        assert {"reason_code": "PRODUCT_NOT_SIMILAR", "count": 2, "lacking": "wine~clothing", "who": "marketer"} in [
            {name: one[name] for name in ("reason_code", "count", "lacking", "who")} for one in verdict["rescue"]
        ]
        # between rehearsal and release: one opts out, one is rescued
        assert installation.tool("suppress", "add", ANNA).returncode == 0
        load(installation, "consents", [consent(NIEMAND)])
        [done] = lines_of(installation.tool("simulate", "--campaign", "c1", "--release", "--json"))
        assert (done["sent"], done["kept_out"], done["by_reason"]["SUPPRESSED_SENDER"]) == (2, 3, 1)
        relay.upstream.wait(2)
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted([WIM, NIEMAND])
        assert states(installation) == {"delivered": 2, "blocked": 3}

        again = installation.tool("simulate", "--campaign", "c1", "--release")
        assert again.returncode == 1 and "nothing to release" in again.stderr.decode()
        relay.drained()
        assert relay.upstream.count == 2

        rows = {row["mode"]: row for row in installation.report("campaigns") if row["campaign"] == "c1"}
        rehearsal, real = rows["rehearse"], rows["enforce"]
        assert (rehearsal["accepted"], rehearsal["allowed"], rehearsal["open"], rehearsal["released"]) == (5, 2, 0, 2)
        assert (real["accepted"], real["allowed"], real["blocked"], real["delivered"]) == (5, 2, 3, 2)
        assert real["blocked_by_reason"] == {"SUPPRESSED_SENDER": 1, "PRODUCT_NOT_SIMILAR": 2}
        acts = [
            entry for entry in lines_of(installation.tool("ledger", "export", "--controller", "acme"))
            if entry.get("kind") == "staff_act" and "rehearsal released" in json.dumps(entry)
        ]  # fmt: skip
        assert len(acts) == 1, "whoever releases nothing did nothing"
        assert installation.tool("ledger", "verify").returncode == 0


@on_both
def test_an_opt_out_after_the_release_is_in_time_too(installation: Installation) -> None:
    """Released is not sent: the copy waits like any other, and is decided once more by the session that sends it."""
    with relaying(installation, {"MAIL": ["451 4.3.2 later", "250 2.1.0 ok"]}, connections=1) as relay:
        relay.taken([ANNA], campaign_mail("c2"))
        assert installation.tool("simulate", "--campaign", "c2", "--release").returncode == 0
        relay.gateway.eventually(lambda: "event=tried" in relay.gateway.log())
        assert installation.tool("suppress", "add", ANNA).returncode == 0
        installation.tell("UPDATE copies SET due_at = 0 WHERE state = 'queued'")  # its minute is over
        relay.gateway.eventually(lambda: states(installation) == {"blocked": 1})
        assert relay.upstream.count == 0


def test_reports_that_are_owed_are_sent_at_the_release(installation: Installation) -> None:
    with relaying(installation) as relay, relay.gateway.client() as session:
        session.mail(SENDER)
        session.rcpt(KLEED, ["NOTIFY=FAILURE"])
        session.rcpt(NIEMAND)
        session.rcpt(ANNA, ["NOTIFY=NEVER"])
        assert session.data(campaign_mail("c3"))[0] == 250
        assert installation.tool("simulate", "--campaign", "c3", "--release").returncode == 0
        relay.upstream.wait(2)
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted([ANNA, SENDER])
        [report] = relay.upstream.to(SENDER)
        assert KLEED.encode() in report.raw and b"PRODUCT_NOT_SIMILAR" in report.raw
        assert NIEMAND.encode() not in report.raw


@on_both
def test_p1_kill_9_during_the_release_loses_and_doubles_nothing(installation: Installation) -> None:
    people = [f"r{n:04d}@example.org" for n in range(1500)]
    load(installation, "consents", [consent(address) for address in people])
    with relaying(installation) as relay:
        for start in range(0, len(people), 100):
            relay.taken(people[start : start + 100], campaign_mail("c4"))
        command = [sys.executable, "-m", "gateway", "simulate", "--campaign", "c4", "--release"]
        killed = 0
        while states(installation)["rehearsed"]:
            before = states(installation)["rehearsed"]
            with subprocess.Popen([*command, "--config", installation.config], cwd=ROOT, stdout=subprocess.PIPE) as one:
                relay.gateway.eventually(
                    lambda one=one, before=before: states(installation)["rehearsed"] < before or one.poll() is not None
                )
                if one.poll() is None:
                    os.kill(one.pid, signal.SIGKILL)
                    killed += 1
        assert killed, "it was never cut off: the test shows nothing"
        relay.upstream.wait(len(people))
        relay.drained()
        assert Counter(mail.recipient for mail in relay.upstream.mails) == Counter(people)
        [row] = [row for row in relay.installation.report("campaigns") if row["mode"] == "rehearse"]
        assert (row["open"], row["released"]) == (0, len(people))


def test_p1_several_releases_at_once_lose_and_double_nothing(installation: Installation) -> None:
    people = [f"r{n:04d}@example.org" for n in range(600)]
    load(installation, "consents", [consent(address) for address in people])
    with relaying(installation) as relay:
        for start in range(0, len(people), 100):
            relay.taken([*people[start : start + 100], f"nobody{start}@example.org"], campaign_mail("c5"))
        command = [sys.executable, "-m", "gateway", "simulate", "--campaign", "c5", "--release", "--json"]
        several = [
            subprocess.Popen([*command, "--config", installation.config], cwd=ROOT, stdout=subprocess.PIPE)
            for _ in range(3)
        ]  # fmt: skip
        told = [json.loads(one.communicate()[0]) for one in several]
        assert (sum(one["sent"] for one in told), sum(one["kept_out"] for one in told)) == (len(people), 6)
        relay.upstream.wait(len(people))
        relay.drained()
        assert Counter(mail.recipient for mail in relay.upstream.mails) == Counter(people)
        rows = {row["mode"]: row for row in installation.report("campaigns") if row["campaign"] == "c5"}
        assert (rows["rehearse"]["open"], rows["rehearse"]["released"]) == (0, len(people))
        assert (rows["enforce"]["accepted"], rows["enforce"]["blocked"]) == (len(people) + 6, 6)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (("person", "restrict", ANNA, "--reason", "accuracy_contested"), "PROCESSING_RESTRICTED"),
        (("suppress", "add", ANNA), "SUPPRESSED_SENDER"),
        (("suppress", "add", ANNA, "--purpose", "newsletter"), "SUPPRESSED_PURPOSE"),
    ],
)
def test_p2_who_may_not_be_mailed_any_more_stays_behind_at_the_release(
    installation: Installation, act: tuple[str, ...], code: str
) -> None:
    with relaying(installation) as relay:
        relay.taken([ANNA, WIM], campaign_mail("c6"))
        done = installation.tool(*act, "--controller", "acme")
        assert done.returncode == 0, done.stderr.decode()
        [told] = lines_of(installation.tool("simulate", "--campaign", "c6", "--release", "--json"))
        assert (told["sent"], told["kept_out"], told["by_reason"][code]) == (1, 1, 1)
        relay.upstream.wait(1)
        relay.drained()
        assert [mail.recipient for mail in relay.upstream.mails] == [WIM]


@pytest.mark.parametrize(
    ("settings", "leave"),
    [
        (MODE, [ANNA, WIM]),
        (observing(14), [ANNA, WIM, KLEED]),
    ],
)
def test_a_rehearsal_can_be_released_after_its_stream_rehearses_no_more(
    installation: Installation, settings: str, leave: list[str]
) -> None:
    """The mode at the release counts; what was put by is still there, and nothing leaves before somebody says so."""
    with relaying(installation) as relay:
        relay.taken([ANNA, WIM, KLEED], campaign_mail("c7"))
        installation.change(MODE + 'mode = "rehearse"\n', settings)
        reload(relay)
        relay.passes(ANNA, campaign_mail("c7", "live"))
        assert relay.upstream.count == 1 and states(installation)["rehearsed"] == 3
        [told] = lines_of(installation.tool("simulate", "--campaign", "c7", "--release", "--json"))
        assert (told["open"], told["sent"], told["kept_out"]) == (3, len(leave), 3 - len(leave))
        relay.upstream.wait(1 + len(leave))
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted([ANNA, *leave])
        assert not states(installation)["rehearsed"]


# lists


def listed(installation: Installation, file: Path, *options: object) -> dict[str, object]:
    [verdict] = lines_of(installation.tool("simulate", "--stream", "events", "--recipients", file, "--json", *options))
    return verdict


def test_a_list_gets_the_verdict_that_sending_gets_and_leaves_no_trace(
    installation: Installation, tmp_path: Path
) -> None:
    people = [f"s{n}@example.org" for n in range(12)]
    load(installation, "consents", [
        *(consent(address, purposes="events") for address in people[:4]),
        *(consent(address, purposes="events", **{"evidence.wording_version": ""}) for address in people[4:7]),
        *(consent(address, purposes="events", **{"double_opt_in.required": "true"}) for address in people[7:9]),
    ])  # fmt: skip
    file, mail, out = tmp_path / "list.csv", tmp_path / "mail.eml", tmp_path / "verdict.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines, delimiter=";").writerows([["name", "Email"], *([f"n{p}", p] for p in [*people, KLEED])])
    mail.write_bytes(newsletter("Proeverij").replace(b"\r\n", b"\n"))
    before = rows_of_everything(installation)
    verdict = listed(installation, file, "--message", mail, "--out", out)
    assert verdict == {**listed(installation, file), "samples": verdict["samples"]}
    assert rows_of_everything(installation) == before
    assert (verdict["recipients"], verdict["allowed"]) == (13, 4)
    rescues = {(one["reason_code"], one["lacking"]): one["count"] for one in verdict["rescue"]}  # type: ignore[attr-defined]
    assert rescues["CONSENT_UNPROVEN", "wording_version"] == 3
    assert rescues["OPT_IN_PENDING_CONFIRMATION", ""] == 2
    assert not any(address in json.dumps(verdict) for address in people)
    assert any(people[0] in one for one in listed(installation, file, "--addresses")["samples"].values())  # type: ignore[attr-defined]

    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="", encoding="utf-8-sig") as written:
        rows = list(csv.DictReader(written))
    assert [row["email"] for row in rows] == [*people, KLEED]
    assert Counter(row["reason_code"] for row in rows) == verdict["by_reason"]

    with relaying(installation) as relay:
        relay.taken([*people, KLEED], newsletter("Proeverij"), login="events")
        [row] = [row for row in installation.report("campaigns") if row["stream"] == "events"]
        assert (row["allowed"], row["blocked"]) == (verdict["allowed"], verdict["blocked"])
        told = {code: n for code, n in verdict["by_reason"].items() if not code.startswith("ALLOW_")}  # type: ignore[attr-defined]
        assert row["blocked_by_reason"] == told


def test_what_cannot_be_simulated_is_named(installation: Installation, tmp_path: Path) -> None:
    bad, mail = tmp_path / "bad.txt", tmp_path / "mail.eml"
    bad.write_bytes(b"a@example.org\nb\xff@example.org\n")
    mail.write_bytes(b"X-Consentgate-Purpose: lottery\nFrom: a@acme.example\nSubject: x\n\nx\n")
    for words, said in (
        (("--recipients", bad, "--stream", "newsletter"), "bad.txt: line 2: is not UTF-8 text"),
        (("--recipients", tmp_path / "none", "--stream", "newsletter"), "cannot be read"),
        (("--recipients", bad), "needs --stream"),
        (("--recipients", bad, "--stream", "lottery"), "There is no stream 'lottery'. Known: acme/newsletter"),
        (("--recipients", bad, "--stream", "newsletter", "--category", "cars"), "there is no category 'cars'"),
        (("--recipients", bad, "--stream", "newsletter", "--message", mail), "would be refused: 550 5.7.1"),
        (("--recipients", bad, "--stream", "newsletter", "--out", bad), "Name another file"),
        (("--recipients", bad, "--stream", "newsletter", "--release"), "--release goes with --campaign"),
        (("--campaign", "never"), "No campaign 'never' was rehearsed"),
        ((), "Say either --recipients"),
    ):
        done = installation.tool("simulate", *words)
        assert done.returncode == (1 if words else 2) and said in done.stderr.decode(), done.stderr.decode()


def test_a_list_that_cannot_be_read_to_its_end_leaves_no_verdict(installation: Installation, tmp_path: Path) -> None:
    out = tmp_path / "out" / "verdict.csv"
    out.parent.mkdir()
    said = b"a@example.org\n" * 3000 + b"b\xff@example.org\n"
    words = ("--stream", "newsletter", "--recipients", "-", "--out", out)
    done = installation.tool("simulate", *words, stdin=said)
    assert done.returncode == 1 and b"line 3001: is not UTF-8 text" in done.stderr
    assert not list(out.parent.iterdir())


def test_cells_of_the_verdict_never_run(installation: Installation, tmp_path: Path) -> None:
    out = tmp_path / "verdict.csv"
    done = installation.tool(
        "simulate", "--stream", "newsletter", "--recipients", "-", "--out", out, stdin=b"=1+1@example.org\n+x\n"
    )
    assert done.returncode == 0, done.stderr.decode()
    with out.open(newline="", encoding="utf-8-sig") as written:
        assert [row["email"] for row in csv.DictReader(written)] == ["'=1+1@example.org", "'+x"]
