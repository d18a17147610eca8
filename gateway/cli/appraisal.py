"""The command `report evidence`: how good the proof of a whole list is."""

from typing import TYPE_CHECKING, Any

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from suppression.evidence import LACKS, LEVELS
from suppression.proof_meter import weakest

if TYPE_CHECKING:
    from gateway.store.material import KeptMeter

SHOWN = 10
WIDTH = 40
_MEANING = {
    "strong": "complete, wording on file, confirmed from the mailbox",
    "good": "complete, and wording on file or confirmed",
    "weak": "a time is known",
    "bare": "not even a time is known",
}


def evidence(
    config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False
) -> None:  # fmt: skip
    """How many people have proof of which grade, and what would raise it. Grades decide nothing."""
    from gateway import appraise

    loaded = command.configuration(config)
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def count() -> "list[tuple[str, KeptMeter, dict[str, bool]]]":
        found = []
        async with command.opened(loaded) as store:
            with command.counting_bar("people") as progress:
                for name in names:
                    kept = await appraise.current(store, name, clock=command.now, progress=progress)
                    on_file = {
                        version: await store.wording(name, version) is not None for version in kept.meter.wordings
                    }
                    found.append((name, kept, on_file))
        return found

    for name, kept, on_file in command.run(count()):
        if as_json:
            command.out(_row(name, kept, on_file))
        else:
            _print(name, kept, on_file)


def _row(name: str, kept: "KeptMeter", on_file: dict[str, bool]) -> dict[str, Any]:
    said = kept.meter.to_dict()
    wordings = [
        {"name": version or None, "on_file": on_file[version], "consents": n}
        for version, n in kept.meter.wordings.most_common()
    ]
    return {
        "controller": name, "counted_at": kept.counted_at, **said, "agreed": kept.meter.agreed, "wordings": wordings,
    }  # fmt: skip


def _print(name: str, kept: "KeptMeter", on_file: dict[str, bool]) -> None:
    meter, whole = kept.meter, kept.meter.agreed
    print(f"{name}: {meter.people} people on file, {whole} with a consent in force")
    for level in reversed(LEVELS):
        n = meter.best[level]
        bar = "#" * round(WIDTH * n / whole) if whole else ""
        print(f"  {level:7} {n:>9}  {bar:{WIDTH}}  {_MEANING[level]}")
    for lack, text in LACKS.items():
        if meter.lacks[lack]:
            print(f"  {meter.lacks[lack]} consents: {text}")
    for version, n in meter.wordings.most_common(SHOWN):
        said = "on file" if on_file[version] else "not on file" if version else "no version named"
        print(f"  wording {version or '-'}: {n} consents, {said}")
    for way, weak, of in weakest(meter, SHOWN):
        print(f"  weakest: {way}: {weak} of {of} consents have weak or bare proof")
