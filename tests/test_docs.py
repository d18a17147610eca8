"""What the documents say is what the code does: reference pages, commands, flow, links between pages."""

import importlib.util
import inspect
import re
from types import ModuleType

import pytest

from gateway import log
from gateway.__main__ import COMMANDS
from gateway.mail import reply
from gateway.settings.table import SETTINGS
from suppression.reason_code import ACTOR, FAMILY, REMEDY
from tests.installation import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "commands.md", "reason-codes.md", "smtp-replies.md", "log-events.md"])
def test_a_reference_page_is_what_the_code_says(reference: ModuleType, page: str) -> None:
    assert (DOCS / page).read_text("utf-8") == reference.PAGES[page](), "run: .venv/bin/python docs/reference.py"


def test_every_reference_page_is_checked(reference: ModuleType) -> None:
    assert set(reference.PAGES) == {"settings.md", "commands.md", "reason-codes.md", "smtp-replies.md", "log-events.md"}


def test_the_reference_names_everything() -> None:
    for page, names in {
        "settings.md": {setting.name.rpartition(".")[2] for setting in SETTINGS},
        "commands.md": set(COMMANDS),
        "reason-codes.md": set(FAMILY),
        "smtp-replies.md": {said.line for said in reply.TABLE.values()},
        "log-events.md": {
            name for name, one in vars(log).items() if inspect.isfunction(one) and "_log." in source(one)
        },
    }.items():
        text = (DOCS / page).read_text("utf-8")
        missing = {name for name in names if name not in text and name.replace("|", "\\|") not in text}
        assert not missing, page


def source(function: object) -> str:
    assert inspect.isfunction(function)
    return "" if function.__name__ == "configure" else inspect.getsource(function)


def test_every_reason_code_has_a_family_and_somebody_who_can_act() -> None:
    assert set(FAMILY) < set(ACTOR) == set(REMEDY)


def test_every_event_is_named_as_its_function_and_told_by_somebody() -> None:
    told = "\n".join(file.read_text("utf-8") for file in (ROOT / "gateway").rglob("*.py") if file.name != "log.py")
    for name, function in vars(log).items():
        if inspect.isfunction(function) and function.__module__ == log.__name__:
            for event in re.findall(r"_log\.\w+\(\s*\"(\w+)\"", source(function)):
                assert event == name
                assert re.search(rf"\blog\.{name}\b", told) or re.search(rf"\b{name}\(", source_of_log()), name


def source_of_log() -> str:
    """log.py without its definitions: what it calls itself."""
    return re.sub(r"(?m)^def .*$", "", inspect.getsource(log))


def test_the_flow_names_modules_that_are_there_and_every_story() -> None:
    text = (ROOT / "gateway/FLOW.md").read_text("utf-8")
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", text):
        assert any((ROOT / folder / name).is_file() for folder in ("gateway", ".")), name
    for story in ("accept", "deliver", "record", "hear", "report"):
        assert f"`{story}.py`" in text


@pytest.mark.parametrize("page", [*sorted(file.name for file in DOCS.glob("*.md")), "../README.md", "../CHANGELOG.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((DOCS / page).parent / target).resolve().exists(), target


def test_commands_in_the_documents_exist() -> None:
    pages = [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "gateway/FLOW.md"]
    reference = (DOCS / "commands.md").read_text("utf-8")
    for page in pages:
        for name, sub in re.findall(r"consentgate ([a-z][a-z-]+)(?: ([a-z]+)\b)?", page.read_text("utf-8")):
            assert name in COMMANDS, f"{page.name}: {name}"
            if sub and f"## {name} " in reference:
                assert f"## {name} {sub}\n" in reference, f"{page.name}: {name} {sub}"
        for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", page.read_text("utf-8")):
            assert option in reference or option in OTHERS, f"{page.name}: {option}"


OTHERS = {
    "--help",
    "--strict",
    "--server",
    "--tls",
    "--auth-user",
    "--auth-password",
    "--from",
    "--to",
    "--data",
    "--hide-all",
    "--messages",
    "--every",
    "--driver",
    "--python",
    "--haraka",
    "--work",
    "--seed",
    "--public-key",
}
"""Options of other programs that the documents use."""


def test_make_targets_in_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for page in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"(?m)\bmake (setup|run|test|check|bench|lock)\b", page.read_text("utf-8")):
            assert re.search(rf"(?m)^{target}:", makefile), target
