"""Commands that show the law at work on facts from a file: decide.

The arguments are read by hand: this command is run over and over by scripts, and loading an option parser would take
longer than everything else it does before the first decision.
"""

import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from gateway.packs import read_packs
from suppression.decision import decide as judge
from suppression.facts import Facts, FactsError

if TYPE_CHECKING:
    from suppression.decision import Decision
    from suppression.jurisdiction import PackBook

USAGE = """Usage: {prog} decide [--config FILE] [--explain [--language LANG]] FILE

Decide facts from a file: may this be sent, and why. FILE - is standard input.

FILE holds {{"vectors": [{{"id", "facts"}}, ...]}}, or one JSON object per line:
facts, or {{"id", "facts"}}. An item without an id is named by its place. One
JSON line per item comes out: id, decision, reason_code, cite, trace.

--explain adds `explanation` (the facts it rests on, the rule, the articles,
since when, until when, what would make it lawful, who can do that) and `text`,
the same in sentences; --language is nl, en, fr or de (default en).

Nothing is read but FILE and the packs that ship with the product; --config is
taken like everywhere and changes nothing.

Exit code: 0 all decided; 1 an item could not be read, the others are decided;
2 the input is of no use.
"""

#: Lines are written in groups: a write per line costs more than a decision.
GROUP = 256


class Unusable(ValueError):
    """The input, or one item of it, holds no facts. The text says what is wrong and what to do."""


def app(*, args: Sequence[str], prog_name: str = "consentgate") -> None:
    """Run `decide` with the words of the command line, and leave with its exit code."""
    words = list(args[1:])
    if "-h" in words or "--help" in words:
        print(USAGE.format(prog=prog_name), end="")
        raise SystemExit(0)
    if "--config" in words:
        at = words.index("--config")
        del words[at : at + 2]
    explaining = _explaining(words, prog_name)
    files = [word for word in words if word == "-" or not word.startswith("-")]
    if len(files) != 1 or len(words) != 1:
        _complain(f"{prog_name} decide: give one FILE, or - for standard input. See: {prog_name} decide --help")
        raise SystemExit(2)
    raise SystemExit(decide_command(files[0], sys.stdout, explaining))


Explaining = Callable[[Facts, "Decision", "PackBook"], dict[str, Any]]
"""What is added to a line: name to value."""


def _explaining(words: list[str], prog_name: str) -> Explaining | None:
    """What --explain and --language ask for; both are taken out of the words. Loaded only when asked for."""
    wanted, language = "--explain" in words, None
    if wanted:
        words.remove("--explain")
    if "--language" in words:
        at = words.index("--language")
        language = words[at + 1] if at + 1 < len(words) else ""
        del words[at : at + 2]
    if not wanted and language is None:
        return None
    from gateway.sentences import spoken
    from gateway.words import LANGUAGES, Words, is_language
    from suppression.explain import explain

    chosen = language if language is not None else "en"
    if not is_language(chosen):
        _complain(f"{prog_name} decide: --language {chosen!r} is none of {', '.join(LANGUAGES)}")
        raise SystemExit(2)
    catalogue = Words.load()
    return lambda facts, decision, packs: spoken(catalogue, chosen, explain(facts, decision, packs))


def decide_command(path_or_dash: str, out: TextIO, explaining: Explaining | None = None) -> int:
    """Write one JSON line per item to `out`; what is wrong with an item goes to standard error.

    Returns 0 when every item was decided, 1 when one could not be read, 2 when the input as a whole is of no use.
    """
    if path_or_dash == "-":
        return _decide_all(sys.stdin.buffer, "standard input", out, explaining)
    try:
        source = open(path_or_dash, "rb")  # noqa: PTH123, SIM115 - pathlib takes start-up time; closed two lines down
    except OSError as error:
        _complain(f"{path_or_dash}: cannot be read ({error.strerror}); name a readable file, or - for standard input")
        return 2
    with source:
        return _decide_all(source, path_or_dash, out, explaining)


def _decide_all(source: BinaryIO, name: str, out: TextIO, explaining: Explaining | None) -> int:
    packs = read_packs()
    gc.freeze()  # what is loaded stays; without it the collector walks it again and again while facts stream by
    encode = json.JSONEncoder(ensure_ascii=False).encode
    wrong = 0
    lines: list[str] = []
    try:
        for where, item in _items(source):
            try:
                id_, facts = _facts_of(item, where)
                decision = judge(facts, packs.at(facts.as_of))
                shared = _shown(decision.verdict, decision.reason_code, decision.cite, decision.trace)
                if explaining is not None:
                    shared = f"{shared[:-1]}, {encode(explaining(facts, decision, packs))[1:]}"
                lines.append(f'{{"id": {encode(id_)}, {shared}')
            except (FactsError, Unusable) as error:
                wrong += 1
                _complain(f"{name}: {where}: {error}")
            if len(lines) == GROUP:
                out.write("\n".join(lines) + "\n")
                lines.clear()
    except Unusable as error:
        _complain(f"{name}: {error}")
        return 2
    if lines:
        out.write("\n".join(lines) + "\n")
    out.flush()
    return 1 if wrong else 0


@lru_cache(maxsize=4096)
def _shown(verdict: str, reason_code: str, cite: str, trace: tuple[str, ...]) -> str:
    """The part of a line that many items share, as JSON without its opening brace."""
    shared = {"decision": verdict, "reason_code": reason_code, "cite": cite, "trace": trace}
    return json.dumps(shared, ensure_ascii=False)[1:]


def _facts_of(item: Any, where: str) -> tuple[object, Facts]:
    """The id and the facts of one item. Raises Unusable or FactsError."""
    if isinstance(item, Unusable):
        raise item
    if type(item) is not dict:
        raise Unusable('is no JSON object; give facts or {"id", "facts"}')
    if "facts" in item:
        id_ = item.get("id", where)
        if type(id_) not in (str, int):
            raise Unusable("id: must be a text")
        return id_, Facts.from_dict(item["facts"])
    if "schema" in item:
        return where, Facts.from_dict(item)
    raise Unusable('facts: is missing; give facts or {"id", "facts"}')


def _items(source: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Each item with its place, or an Unusable where its line is no JSON. Raises Unusable when there are no items."""
    number, line = 1, source.readline()
    while line and not line.strip():
        number, line = number + 1, source.readline()
    if not line:
        raise Unusable("is empty; give facts as JSON")
    head = _parsed(line)
    if isinstance(head, Unusable):
        # One document over several lines, or lines of which the first is wrong. Only a document is read as a whole.
        rest = source.read()
        whole = _parsed(line + rest)
        if not isinstance(whole, Unusable) or line.split() == [b"{"] or b'"vectors"' in line:
            yield from _vectors(whole)
            return
        lines: Any = rest.splitlines()
    elif type(head) is dict and "vectors" in head:
        yield from _vectors(head)
        return
    else:
        lines = source
    yield f"line {number}", head
    for at, text in enumerate(lines, number + 1):
        if text.strip():
            yield f"line {at}", _parsed(text)


def _vectors(document: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(document, Unusable):
        raise document
    if type(document) is not dict or type(document.get("vectors")) is not list:
        raise Unusable('holds no list "vectors"; give {"vectors": [{"id", "facts"}, ...]} or one object per line')
    for at, item in enumerate(document["vectors"]):
        named = type(item) is dict and type(item.get("id")) is str
        yield item["id"] if named else f"vectors[{at}]", item


def _parsed(text: bytes) -> Any:
    """The JSON value of a text, or an Unusable that says where it stops being one."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return Unusable(f"is no JSON ({error.msg}, line {error.lineno} column {error.colno}); correct it")
    except (UnicodeDecodeError, RecursionError):
        return Unusable("is no JSON (not UTF-8, or nested too deep); correct it")


def _complain(text: str) -> None:
    print(text, file=sys.stderr)
