"""Cases as files: in.eml, what is wanted and expected in plan.json, out.eml octet for octet where a copy leaves."""

import json
from pathlib import Path

import pytest

from gateway.mail.mime import parse
from gateway.mail.plan import Wants, make_plan
from gateway.mail.rewrite import NotInjectable, rewrite
from tests.mails import FOOTER, FRENCH, fill

FOLDER = Path(__file__).parent.parent / "vectors" / "rewrite"
CASES = sorted(path.parent for path in FOLDER.glob("*/in.eml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    told = json.loads((case / "plan.json").read_text())
    expect = told["expect"]
    plan = make_plan(parse((case / "in.eml").read_bytes()), Wants(**told["wants"]))
    assert (plan.unsubscribe, plan.protection, plan.language) == tuple(
        expect[name] for name in ("unsubscribe", "protection", "language")
    )
    assert sorted(leaf.part.path for leaf in plan.leaves) == expect["edited"]
    fill_in = fill(footer={"dutch": FOOTER, "french": FRENCH}[told["footer_text"]])
    out = case / "out.eml"
    if not out.exists():
        assert plan.unsubscribe == "not_injectable"
        with pytest.raises(NotInjectable):
            rewrite(plan, fill_in)
        return
    done = rewrite(plan, fill_in)
    assert (done.footer, list(done.warnings)) == (expect["footer"], expect["warnings"])
    assert done.head + b"\r\n" + done.body == out.read_bytes()


def test_each_case_says_what_it_is_about() -> None:
    assert len(CASES) >= 15
    assert all((case / "README").read_text().strip().endswith(".") for case in CASES)
