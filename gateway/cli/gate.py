"""Commands of the gateway itself: init, serve, check-config, doctor."""

import gc
import shutil
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

app = command.make_app()


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made when it is not there.")],
    example: Annotated[bool, typer.Option("--example", help="Add the example controller acme.")] = False,
    smtp_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for newsletter tools.")] = 2525,
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web pages.")] = 8080,
    return_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for bounces and opt-outs by mail.")] = 2526,
    smarthost: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where copies go. Absent: they are captured.")
    ] = None,
    database: Annotated[
        str,
        typer.Option(metavar="URL", help="sqlite:FILE, relative to DIR, or postgresql://USER@HOST/NAME: an empty one."),
    ] = "sqlite:consentgate.db",
    keys_database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The same for the keys, in another database. Absent: the file keys.db."),
    ] = None,
) -> None:
    """Make an installation in DIR. An existing consentgate.toml is left alone (exit code 1)."""
    from gateway import app as composition
    from gateway.cli import installation
    from gateway.store.contract import StoreUnavailable

    data, keys = installation.databases_from(database, keys_database)
    wanted = installation.Wanted(
        directory=directory.absolute(),
        example=example,
        smtp_port=smtp_port,
        http_port=http_port,
        return_port=return_port,
        smarthost=installation.smarthost_from(smarthost),
        database=data,
        keys=keys,
    )
    with installation.staged(wanted.directory) as stage:
        made = installation.write(wanted, stage, command.now())
        config = installation.loaded(stage)
        installation.check_free(stage, wanted.directory)  # before anything is made on a server
        try:
            composition.create_store(config)
        except StoreUnavailable as refused:
            raise Refused(f"{refused}.") from None

        async def add_staff() -> None:
            async with command.opened(config) as store:
                for staff in made.staff:
                    await store.put_staff(staff, command.now())

        command.run(add_staff())
    where = wanted.directory
    command.say(
        f"Made {where / installation.SETTINGS_FILE}, keys, database, and passwords in {where / 'passwords.txt'}."
    )
    if config.keys.file is not None and config.database.file is None:
        command.say("The keys are in the file keys.db: enough for one machine. More of them need --keys-database.")
    then = "serve" if example else "check-config"
    fill_in = "" if example else "fill in what says CHANGE, then: "
    command.say(f"Next: {fill_in}consentgate {then} --config {where / installation.SETTINGS_FILE}")


@app.command()
def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; one per core at most.")] = 1,
) -> None:
    """Run the gateway. Prints `ready` when all listeners accept; SIGTERM stops it, SIGHUP reloads the settings."""
    gc.disable()  # until everything is loaded (serve.py): nothing of it is garbage, and the start takes a tenth less
    from gateway.settings.load import ConfigError
    from gateway.settings.readiness import serve_problems

    loaded = command.configuration(config)
    if problems := serve_problems(loaded, command.now()):
        raise Refused(str(ConfigError(problems)))
    from gateway import app as composition

    raise typer.Exit(composition.serve(loaded, workers=workers))


@app.command("check-config")
def check_config(
    config: ConfigPath = DEFAULT_CONFIG,
    example: Annotated[bool, typer.Option("--example", help="Print every setting with its default, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Check the settings: exit code 1 and one line per problem, else a summary."""
    from gateway.settings import table
    from gateway.settings.load import ConfigError, load
    from gateway.settings.readiness import serve_problems, serve_warnings

    if example:
        print(table.example(), end="")
        return
    try:
        loaded = load(config)
        problems = serve_problems(loaded, command.now())
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        if as_json:
            command.out({name: getattr(problem, name) for name in ("file", "line", "key", "what", "remedy")})
        else:
            command.say(str(problem))
    if problems:
        raise typer.Exit(1)
    for warning in serve_warnings(loaded, command.now()):
        command.say(f"Warning: {warning}")
    if not as_json:
        streams = sum(len(controller.streams) for controller in loaded.controllers.values())
        print(f"{loaded.path} is good: {len(loaded.controllers)} controller(s), {streams} stream(s).")


@app.command()
def doctor(
    config: ConfigPath = DEFAULT_CONFIG,
    dns: Annotated[bool, typer.Option("--dns", help="Also ask DNS for keys, return path and names.")] = False,
    write_back: Annotated[
        bool,
        typer.Option(
            "--write-back", help="Also call the tools and endpoints that are told of opt-outs; nothing is told."
        ),
    ] = False,
    smarthosts: Annotated[
        bool, typer.Option("--smarthosts", help="Also log in at every smarthost; no mail is sent.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(metavar="DOMAIN", help="Instead say where mail for a domain would go by `mx` routes."),
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Instead send a message to the seed mailbox, and look at what arrives.")
    ] = False,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="With --loop: the stream it is sent on.")] = None,
    controller: ControllerName = None,
    minutes: Annotated[float, typer.Option(min=0.01, max=60, help="With --loop: how long to wait.")] = 5,
    as_json: Json = False,
) -> None:
    """Check what the settings rest on. Exit code 1 when something needs attention."""
    from gateway.doctor import direct, machine, names, noted, providers, servers, told
    from gateway.doctor import smarthosts as hosts
    from gateway.doctor.finding import Finding
    from gateway.outbound.resolver import Resolver

    loaded = command.configuration(config)
    now = command.now()

    async def findings() -> list[Finding]:
        free, kept = shutil.disk_usage(loaded.dir).free, {}
        given_up: list[Finding] = []
        heard: list[Finding] = []
        try:
            async with command.opened(loaded) as store:
                await store.check()
                kept, given_up = await noted.checks(loaded, store), await told.given_up(store, loaded)
                given_up += await noted.hosts(loaded, store, now)
                heard = providers.hooks(loaded, {one: await store.hooks(one) for one in loaded.controllers})
            database = Finding(check="database", good=True, text="opens and has this version's tables")
        except Refused as refused:
            database = Finding(check="database", good=False, text=str(refused))
        found = machine.local(loaded, now=now, free_bytes=free, loops=noted.loops(kept))
        found += [
            *told.left_out(loaded),
            *given_up,
            database,
            *await servers.found(loaded),
            *heard,
            *noted.findings(kept),
        ]
        found += await told.reached(loaded) if write_back else []
        found += await hosts.reached(loaded) if smarthosts else []
        if not dns:
            return found
        resolver = Resolver(loaded.dns_servers)
        return found + await names.published(loaded, resolver, now=now) + await direct.names(loaded, resolver)

    if to is not None:
        found = command.run(direct.destination(loaded, to.rpartition("@")[2]))
    elif loop:
        from gateway.cli import loop as checking

        found = checking.findings(loaded, controller, stream, minutes)
    else:
        found = command.run(findings())
    for finding in found:
        if as_json:
            shown = {"check": finding.check, "good": finding.good, "text": finding.text}
            command.out(shown | ({"record": finding.record} if finding.record else {}))
        else:
            print(f"{'ok  ' if finding.good else 'LOOK'}  {finding.check}: {finding.text}")
            for line in (finding.record or "").splitlines():
                print(f"      {line.expandtabs(8)}")
    if not all(finding.good for finding in found):
        raise typer.Exit(1)
