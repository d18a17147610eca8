"""A settings file is changed line by line, and never into something else than was wanted."""

import tomllib
from datetime import UTC, datetime

import pytest

from gateway.settings.edit import Uneditable, with_entry, with_values, without_entry

TEXT = """# top
a = 1

[[c.acme.dkim]]  # first
domain = "acme.example"
selector = "cg1"

# the second one
[[c.acme.dkim]]
domain = "acme.example"   # here
selector = "cg2"

# about the table below
[c.acme.logins.news]
streams = ["news"]
"""


def test_an_entry_is_added_changed_and_taken_out_again() -> None:
    more = with_entry(TEXT, "c.acme.dkim", {"domain": 'a"b', "selector": "cg3"})
    assert tomllib.loads(more)["c"]["acme"]["dkim"][2] == {"domain": 'a"b', "selector": "cg3"}
    at = datetime(2026, 12, 15, 10, tzinfo=UTC)
    changed = with_values(more, "c.acme.dkim", 1, {"selector": "x", "retired_at": at})
    assert tomllib.loads(changed)["c"]["acme"]["dkim"][0] == {
        "domain": "acme.example", "selector": "x", "retired_at": at,
    }  # fmt: skip
    back = with_values(changed, "c.acme.dkim", 1, {"selector": "cg1", "retired_at": None})
    assert without_entry(back, "c.acme.dkim", 3).rstrip() == TEXT.rstrip()


def test_every_comment_stays_with_what_it_is_about() -> None:
    out = without_entry(TEXT, "c.acme.dkim", 2)
    assert "# about the table below\n[c.acme.logins.news]" in out and "# first" in out and "cg2" not in out
    assert "# here" in with_values(TEXT, "c.acme.dkim", 2, {"selector": "z"})


def test_the_last_entry_leaves_no_list() -> None:
    out = without_entry(without_entry(TEXT, "c.acme.dkim", 2), "c.acme.dkim", 1)
    assert "dkim" not in tomllib.loads(out)["c"]["acme"]


@pytest.mark.parametrize(
    "text",
    [
        '[c.acme]\ndkim = [{ domain = "a", selector = "cg1" }]\n',
        '[[c.acme.dkim]]\ndomain = "a"\nselector = """\n[[c.acme.dkim]]\n"""\n',
    ],
)
def test_what_cannot_be_changed_by_line_is_left_to_a_person(text: str) -> None:
    with pytest.raises(Uneditable):
        with_values(text, "c.acme.dkim", 1, {"selector": "x"})
