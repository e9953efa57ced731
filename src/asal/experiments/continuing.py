"""Whether a folder of runs can be continued: its spec must mean what it meant when the folder was begun.

What a spec leaves out has a default, and a later asal may have another one. So `run.json` holds the strategies' options
in full; in a folder from before it did, what the spec leaves out had the defaults of that time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from asal.data.places import PLACES
from asal.errors import UserError
from asal.experiments.results import FACTS
from asal.project.spec import Spec, parse
from asal.project.validate import table_of
from asal.strategies import strategies


def options_of(spec: Spec, chosen: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return every option of the strategies, those that the spec leaves out with their defaults, as JSON holds them."""
    tables = {name: table_of(spec, name) for name in (*spec.strategies, *chosen)}
    return {name: _json(strategies[table.kind].options(table.options)) for name, table in tables.items()}


def joined(there: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return the facts of a run folder that grows by strategies and seeds; refuse any other change.

    Raises:
        UserError: something else changed.
    """
    differing = [key for key in ("pool", "images", "classes", "threads") if there[key] != now[key]]
    if there.get("corrections") != now.get("corrections"):
        differing.append("labels that were corrected")
    before, after = _comparable(there["spec"]), _comparable(now["spec"])
    differing += [
        f"[{key}]"
        for key in after
        if key not in ("strategies", "labelling", "source") and before.get(key) != after[key]
    ]
    if _but_places(before["source"]) != _but_places(after["source"]):
        differing.append("[source]")
    options, changed = _strategies(there, now)
    former = " (what it leaves out may have had another default: write that into it)" if changed else ""
    if differing := differing + changed:
        raise UserError(
            f"{out} was begun with another spec (changed: {', '.join(differing)})",
            rule="a run folder belongs to one spec",
            hint=f"restore the spec{former}, or choose another folder with --out",
        )
    made = {key: there[key] for key in ("versions", "commit", "hardware")}  # rows of before were made with this
    return {
        **now,
        "strategies": list(dict.fromkeys([*there["strategies"], *now["strategies"]])),
        "options": {**options, **now["options"]},
        "seeds": sorted({*there["seeds"], *now["seeds"]}),
        "unlike": {
            key: list(dict.fromkeys([*there.get("unlike", {}).get(key, []), *names]))
            for key, names in now["unlike"].items()
        },
        **({"reference": there["reference"]} if "reference" in there else {}),
        "earlier": there["earlier"] + ([made] if made != {key: now[key] for key in made} else []),
    }


def _comparable(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a spec as this asal writes it: with the present names of settings, and with defaults.

    One that this asal cannot read is returned as it is: a newer asal wrote it, or it has a part that is not installed.
    """
    try:
        return parse(spec, f"the spec in {FACTS}").model_dump(mode="json")
    except UserError:
        return spec


def _but_places(table: Any) -> Any:
    """Return a [source] without the paths of its images: they may be moved, and the pool is compared itself."""
    if not isinstance(table, Mapping):
        return table
    return {key: _but_places(value) for key, value in table.items() if key not in PLACES}


def _strategies(there: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the options of a folder's strategies, and those that both have and that mean something else by now."""
    try:
        (before, options), (after, _) = _meaning(there), _meaning(now)
    except UserError:  # as for `_comparable`
        options, before, after = there.get("options", {}), there["spec"]["strategies"], now["spec"]["strategies"]
    common = sorted(set(before) & set(after))
    return options, [_difference(name, before[name], after[name]) for name in common if before[name] != after[name]]


def _meaning(facts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tables of a folder's strategies with every option, and the options alone, by name."""
    spec, recorded, tables, options = parse(facts["spec"], f"the spec in {FACTS}"), facts.get("options", {}), {}, {}
    for name in (*spec.strategies, *facts["strategies"]):
        table = table_of(spec, name)
        options[name] = _json(strategies[table.kind].options_of_older(recorded.get(name, table.options)))
        settings = table.model_dump(mode="json")
        tables[name] = {**{key: settings[key] for key in settings if key not in table.options}, **options[name]}
    return tables, options


def _difference(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return f"[strategies.{name}] {', '.join(f'{key}: {before.get(key)!r} → {after.get(key)!r}' for key in keys)}"


def _json(options: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = to_jsonable_python(options, fallback=lambda value: type(value).__name__)
    return plain
