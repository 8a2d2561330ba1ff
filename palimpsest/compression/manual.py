"""docs/methods.md, from what the methods declare of themselves. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from palimpsest.compression import registry
from palimpsest.compression.ranges import Range

PREFACE = """# Every compression method

Generated from `palimpsest/compression/methods/` by `python -m palimpsest.settings --write`; do not edit. W is a matrix
(out × in), x one of its inputs, X all of them, G = E[xxᵀ]. A method sees one matrix and the statistics of its inputs;
the walk (`palimpsest/compression/walk.py`) takes it through a model. *Inputs* says whether a block is calibrated on the
outputs of dense blocks or of the compressed ones before it; `propagate` of a label changes it.

```python
palimpsest.compress_weight(weight, inputs, method="gptq", level="4g128", act_order=True).dense()
```
"""
TITLES = {"pruning": "Pruning", "quantization": "Quantization", "low rank": "Low rank"}


def manual() -> str:
    """The whole page."""
    found = registry.declared()
    parts = [PREFACE, _overview(found)]
    for family, title in TITLES.items():
        parts.append(f"## {title}\n")
        parts += [_method(method) for _, method in sorted(found.items()) if method.family == family]
    parts.append(_statistics())
    return "\n".join(parts)


def _overview(found: dict[str, registry.Declaration]) -> str:
    rows = ["| method | what it does | levels | looks at |", "| --- | --- | --- | --- |"]
    for family in TITLES:
        for name, method in sorted(found.items()):
            if method.family == family:
                what, _ = split(method.summary)
                what = what.replace("|", "\\|")
                rows.append(f"| [`{name}`](#{name}) | {what} | {_levels(method)} | {_needs(method)} |")
    return "\n".join(rows) + "\n"


def _method(method: registry.Declaration) -> str:
    what, source = split(method.summary)
    inputs = "none" if not method.needs else f"of {'compressed' if method.propagate else 'dense'} blocks"
    facts = {
        "Formula": method.formula,
        "Source": source,
        "Levels": _levels(method),
        "Statistics": _needs(method),
        "Inputs": inputs,
        "Allocation": method.allocation and f"part of the method: `{method.allocation}`, or another that is named",
        "Cost": method.cost,
        "Version": method.version,
    }
    lines = [f"### {method.name}", "", f"{what}.", ""]
    lines += [f"- {name}: {text}" for name, text in facts.items() if text]
    lines += ["", *options_table(method.options, method.ranges)]
    if method.notes:
        lines += [method.notes, ""]
    return "\n".join(lines)


def options_table(defaults: Mapping[str, Any], ranges: Mapping[str, Range]) -> Iterator[str]:
    """The lines of the table of options; none where there are no options."""
    if not defaults:
        return
    yield "| option | default | allowed |"
    yield "| --- | --- | --- |"
    for name, default in defaults.items():
        allowed = ranges[name].text if name in ranges else _kind(default)
        yield f"| `{name}` | `{_yaml(default)}` | {allowed} |"
    yield ""


def _statistics() -> str:
    rows = ["## Statistics", "", "| name | what it is |", "| --- | --- |"]
    return "\n".join(rows + [f"| `{name}` | {text} |" for name, text in registry.STATISTICS.items()]) + "\n"


def split(summary: str) -> tuple[str, str]:
    """`Drop … (Sun et al., arXiv:…).` -> what it does, and its source."""
    match = re.fullmatch(r"(.*?) \(((?:[^()]|\([^()]*\))*[0-9]{4}(?:[^()]|\([^()]*\))*)\)\.?", summary)
    return (match[1], match[2]) if match else (summary.removesuffix("."), "")


def _levels(method: registry.Declaration) -> str:
    return ", ".join(f'{syntax} `"{examples[0]}"`' for syntax, examples in method.examples.items())


def _needs(method: registry.Declaration) -> str:
    return ", ".join(f"`{need}`" for need in method.needs) or "weights only"


def _kind(default: object) -> str:
    return {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "text"}.get(type(default), "")


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
