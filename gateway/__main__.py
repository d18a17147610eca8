"""The `consentgate` command: finds the command's module and starts it; the others are never loaded.

Exit codes: 0 done, 1 found something or refused, 2 wrong usage. A bug shows one line with the place it happened;
CONSENTGATE_DEBUG=1 shows the whole trace.
"""

import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

# command: module under gateway.cli, what it does
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("gate", "make an installation: settings, keys, database"),
    "serve": ("gate", "run the gateway"),
    "check-config": ("gate", "check the settings, or print them all"),
    "doctor": ("gate", "check an installation: keys, certificate, database, disk, DNS"),
    "queue": ("waiting", "what waits to leave, and held mail that waits for an answer"),
    "dkim": ("dkim", "signing keys: make, publish, take over, retire"),
    "decide": ("proof", "decide facts from a file: may this be sent, and why"),
    "rewrite": ("mail", "show how a message would leave"),
    "bounce": ("bounce", "read a bounce, complaint or reply: whom it is about, and what it means"),
    "simulate": ("simulate", "the verdict on a list or a rehearsed campaign, and its release"),
    "import": ("imports", "take in people, consents, opt-outs from a file or another tool; take an import back"),
    "export": ("exports", "hand out opt-outs, consents or people as a file for another tool"),
    "consent": ("people", "record a consent, and keep what proves consents: wordings, lists, files"),
    "suppress": ("people", "the list of people who must not be mailed"),
    "person": ("person", "one person: what is stored, and what they may ask for"),
    "ledger": ("ledger", "the tamper-evident record: verify, signed heads, rebuild, export"),
    "proof": ("proof_bundle", "prove what was agreed, sent and stopped: one ZIP that can be checked without us"),
    "rules": ("rules", "the rules: packs by country, similar products"),
    "hook": ("hooks", "addresses at which providers tell of bounces and complaints: make, list, revoke"),
    "writeback": ("writeback", "what tools and endpoints still have to be told of opt-outs"),
    "report": ("reports", "what was kept out and why, per recipient or campaign"),
    "letter": ("letters", "the mail the product writes itself: look at it, check your own templates"),
    "user": ("operate", "staff who may sign in to the web pages, programs that may call the API"),
    "migrate": ("operate", "bring the database to this version"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    name = args[0] if args else ""
    if name in ("-h", "--help", "help"):
        print(usage())
        raise SystemExit(0)
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"consentgate {version('consentgate')}")
        raise SystemExit(0)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        wrong = f"There is no command {name!r}.{hint} See: consentgate --help"
        print(wrong if name else usage(), file=sys.stderr)
        raise SystemExit(2)
    if name == "serve":  # a reload that is asked for before we can hear it: what is read then is new anyway
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _run(COMMANDS[name][0], args)


def usage() -> str:
    """The commands with one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["Usage: consentgate COMMAND ...", "", *lines, "", "consentgate COMMAND --help tells more."])


def _run(module: str, args: list[str]) -> None:
    from gateway.cli.refusal import Refused

    try:
        try:
            importlib.import_module(f"gateway.cli.{module}").app(args=args, prog_name="consentgate")
        finally:
            sys.stdout.flush()  # here, so that a reader who left is met below and not after the end
    except Refused as refused:
        print(refused, file=sys.stderr)
        raise SystemExit(refused.exit_code) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain once more
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if os.environ.get("CONSENTGATE_DEBUG"):
            raise
        frame = error.__traceback__
        while frame and frame.tb_next:
            frame = frame.tb_next
        place = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else "?"  # noqa: PTH119
        print(f"consentgate: something went wrong inside ({type(error).__name__} at {place}).", file=sys.stderr)
        print("Set CONSENTGATE_DEBUG=1 and run it again to see all of it.", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
