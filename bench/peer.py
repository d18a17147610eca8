"""Starts this gateway for a benchmark that knows nothing of its settings: one sender, a database of people, one key.

    python -m bench.peer prepare --db consent.db --key dkim.pem --at FOLDER
    python -m bench.peer serve --at FOLDER --port 2525 --sink 2600 --work DIR [--workers 2] [--database postgresql]

`prepare` makes an installation and imports everybody of `consent.db` (table consent: email, status ...) as a consent
with its evidence, given 90 days ago: at the age that the file tells, the law would call it stale. Then it moves a copy
into a PostgreSQL whose files stay, data and keys. It takes two minutes for 200,000 people and is done once.

`serve` copies one of the two, so that each run begins alike, sets the ports and becomes the gateway: who measures this
process and its children measures the product. With PostgreSQL the server is one of these children, durable and set up
as PostgreSQL comes, and ends when the gateway does, however it goes. As root it runs as `nobody`, who has to reach both
folders. The load comes without AUTH from loopback, as the other peers take it; the From domain is `sender.test`.
"""

import argparse
import csv
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "gateway"]
DOMAIN = "sender.test"
READY = "ready"
INSTALLATION, SERVER = "installation", "server"
DATA, KEYS = "mail", "mailkeys"
"""The databases on the server."""
AS_IT_COMES = {"shared_buffers": "128MB"}
"""PostgreSQL's own, where tests take less."""
SMALL_LOG = {"max_wal_size": "128MB"}
"""While the server is filled: what it keeps to write over is copied for each run."""
FILES = ("sqlite:consentgate.db", "keys.db")
SETTINGS = """
public_url = "http://127.0.0.1:{web}"

[database]
url = "{data}"

[keys]
installation = "keys/installation.key"
database = "{keys}"

[listen]
submission = ["127.0.0.1:{port}"]
web = "127.0.0.1:{web}"
return_path = "127.0.0.1:{back}"

[routes.main]
kind = "smarthost"
hosts = ["127.0.0.1:{sink}"]
tls = "none"

[controllers.sender]
legal_name = "Example News Ltd"
postal_address = "1 High Street, 1011 AB Amsterdam"
opt_out_contact = "stop@{domain}"
notice_url = "https://{domain}/privacy"
notice_version = "1"
country = "NL"
default_country = "NL"
default_country_motivation = "The benchmark's people live in one country."
language = "en"
domains = ["{domain}"]
return_domain = "bounce.{domain}"

[controllers.sender.purposes.weekly]
title = {{ en = "the weekly news" }}

[controllers.sender.streams.weekly]
class = "marketing"
purpose = "weekly"
from_domains = ["{domain}"]
route = "main"
ad_identifiable = true
directed_at_children = false
b2b_relevant = false
motivation.ad_identifiable = "Sender name and subject say that it is the newsletter."
motivation.directed_at_children = "The benchmark's people are adults."
motivation.b2b_relevant = "The news is for consumers."

[controllers.sender.logins.tool]
allowed_ips = ["127.0.0.1/32"]
streams = ["weekly"]

[[controllers.sender.dkim]]
domain = "{domain}"
selector = "b1"
key = "keys/dkim.pem"
"""


def main() -> None:
    """Read the options and do what they say."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = options.add_subparsers(required=True)
    first = what.add_parser("prepare", help="make the installation and import everybody")
    first.add_argument("--db", type=Path, required=True)
    first.add_argument("--key", type=Path, required=True)
    first.set_defaults(do=prepare)
    second = what.add_parser("serve", help="a copy of it, on these ports, as this process")
    for name in ("--port", "--sink"):
        second.add_argument(name, type=int, required=True)
    second.add_argument("--work", type=Path, required=True)
    second.add_argument("--workers", type=int, default=2)
    second.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    second.set_defaults(do=serve)
    for one in (first, second):
        one.add_argument("--at", type=Path, required=True, help="the prepared installation")
    args = options.parse_args()
    args.do(args)


def prepare(args: argparse.Namespace) -> None:
    """Make both installations, unless they are there."""
    if is_ready(args.at):
        print(f"{args.at} is ready")
        return
    shutil.rmtree(args.at, ignore_errors=True)
    args.at.mkdir(mode=0o755, parents=True)
    place = args.at / INSTALLATION
    tool("init", place)
    shutil.copyfile(args.key, place / "keys/dkim.pem")
    (place / "keys/dkim.pem").chmod(0o600)
    settings(place, port=20001, sink=20002)
    count = agreed(args.db, place / "people.csv")
    print(f"importing {count:,} people ...", flush=True)
    tool("import", "consents", place / "people.csv", "--config", place / "consentgate.toml",
         "--controller", "sender")  # fmt: skip
    (place / "people.csv").unlink()
    # In the background of every run, on half a core, otherwise: a list that was just imported is counted once.
    tool("report", "evidence", "--config", place / "consentgate.toml", "--controller", "sender")
    moved(place, args.at / SERVER)
    (args.at / READY).write_text(tables())
    print(f"{args.at} is ready")


def moved(place: Path, server: Path) -> None:
    """Fill a new server with what an installation has in files, which stays as it is."""
    print("moving a copy into PostgreSQL ...", flush=True)
    options = {**AS_IT_COMES, **SMALL_LOG}
    with tempfile.TemporaryDirectory() as folder, postgres.running(durable=True, keep=server, **options) as running:
        copy = Path(folder) / INSTALLATION
        shutil.copytree(place, copy)
        urls = [running.url(running.new_database(name)) for name in (DATA, KEYS)]
        tool("migrate", "--from", "sqlite", "--to", "postgresql", "--database", urls[0], "--keys-database", urls[1],
             "--config", copy / "consentgate.toml")  # fmt: skip
        for name in (DATA, KEYS):
            running.ask("VACUUM (FREEZE, ANALYZE)", database=name)  # as a server that runs for days has done by itself
        running.stop()


def serve(args: argparse.Namespace) -> None:
    """Copy what was prepared and become the gateway."""
    if not is_ready(args.at):
        sys.exit(f"{args.at} is not there, or of other tables. Run: python -m bench.peer prepare --at {args.at} ...")
    place = args.work / "gateway"
    shutil.rmtree(place, ignore_errors=True)
    databases = FILES
    if args.database == "sqlite":
        shutil.copytree(args.at / INSTALLATION, place)
    else:
        shutil.copytree(args.at / INSTALLATION, place, ignore=shutil.ignore_patterns("*.db"))
        databases = served(args.at / SERVER, args.work / SERVER)
    os.sync()  # or the copy would still be on its way to the disk when commits wait for it
    settings(place, port=args.port, sink=args.sink, databases=databases)
    os.chdir(ROOT)
    serving = ("serve", "--config", place / "consentgate.toml", "--workers", args.workers)
    os.execv(sys.executable, [*PROGRAM, *map(str, serving)])


def served(prepared: Path, place: Path) -> tuple[str, str]:
    """Start a copy of the server as a child of this process, which it ends with; where data and keys are."""
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run(["cp", "-a", prepared, place], check=True)  # with its owner
    server = postgres.at(place, durable=True, **AS_IT_COMES).start()
    return server.url(DATA), server.url(KEYS)


def is_ready(at: Path) -> bool:
    """Whether it was made, and with the tables that this version has."""
    return (at / READY).exists() and (at / READY).read_text() == tables()


def tables() -> str:
    """What changes when the database's tables do."""
    files = sorted((ROOT / "gateway/store/sql").rglob("*schema.sql"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def settings(place: Path, *, port: int, sink: int, databases: tuple[str, str] = FILES) -> None:
    """Write the settings; pages and the return path get ports that are free now. `databases`: data and keys."""
    web, back = free_ports(2)
    data, keys = databases
    file = place / "consentgate.toml"
    file.write_text(
        SETTINGS.format(port=port, sink=sink, web=web, back=back, domain=DOMAIN, data=data, keys=keys)
    )  # fmt: skip
    file.chmod(0o600)


def agreed(db: Path, file: Path) -> int:
    """An import file of everybody whose consent stands; how many."""
    given = (datetime.now(UTC) - timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    evidence = {
        "given_at": given, "purposes": "weekly", "source": "own_form", "action": "active_tick",
        "evidence.method": "web_form", "evidence.wording_version": "w1", "evidence.privacy_notice_version": "1",
        "evidence.origin": f"https://{DOMAIN}/sign-up", "bundled_with_terms": "false",
        "conditional_on_service": "false", "granular": "true", "double_opt_in.required": "false",
    }  # fmt: skip
    count = 0
    with sqlite3.connect(f"file:{db}?mode=ro", uri=True) as people, file.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["email", *evidence])
        writer.writeheader()
        for (email,) in people.execute("SELECT email FROM consent WHERE status = 'granted'"):
            writer.writerow({"email": email, **evidence})
            count += 1
    return count


def tool(*args: object) -> None:
    """Run a command of the product; stop when it fails."""
    ran = subprocess.run([*PROGRAM, *map(str, args)], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"consentgate {args[0]} ended with {ran.returncode}: {ran.stderr[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    main()
