"""docs/allocations.md, from what the allocations declare of themselves. No torch here."""

from __future__ import annotations

from palimpsest.compression.allocation import registry
from palimpsest.compression.manual import options_table, split

PREFACE = """# Every allocation

Generated from `palimpsest/compression/allocation/methods/` by `python -m palimpsest.settings --write`; do not edit. An
allocation gives each matrix of a model its level, so that together they cost what the label's level asks of the whole:
never more, and less only by what no further step fits into. Any allocation goes with any method that takes levels of
the kind:

```yaml
allocation:
  attention: {method: only, options: {modules: [q_proj, k_proj, v_proj, o_proj]}}
  mlp: {method: only, options: {modules: [gate_proj, up_proj, down_proj], budget: whole}}
compression:
  wanda-owl: {method: wanda, levels: ["0.6"], allocation: owl}
  svd-attention: {method: svd-llm, levels: ["k0.8"], allocation: attention} # four kinds of matrices at 80 %
  svd-mlp: {method: svd-llm, levels: ["k0.8"], allocation: mlp} # as many parameters as uniform at 80 %
  svd-redundant: {method: svd-llm, levels: ["k0.8"], allocation: redundant}
```

What a matrix costs is counted in kept weights (sparsity, N:M, the pruning of a joint level), parameters (kept share,
rank share: rank · (out + in), or out · in where it stays dense) or bits (2 to 8, the group stays). A number format such
as `nf4` has no levels above and below it, so that only the allocations without a budget go with it. The folder
`results/<study>/allocations/<model>/<allocation>/<level>/s<seed>` holds `allocation.json`: every matrix's level, and
what the allocation measured.

*Measured with* is the compression method that shows what a matrix loses; left out, it is {measures}.
"""


def manual() -> str:
    """The whole page."""
    names = dict.fromkeys(registry.MEASURES.values())
    kinds = {name: [kind for kind, other in registry.MEASURES.items() if other == name] for name in names}
    measures = "; ".join(f"`{name}` for {', '.join(kinds[name])}" for name in names)
    found = sorted(registry.declared().items())
    rows = ["| allocation | what it does | looks at | budget |", "| --- | --- | --- | --- |"]
    rows += [
        f"| [`{name}`](#{name}) | {split(one.summary)[0]} | {_looks(one)} | {_budget(one)} |" for name, one in found
    ]
    sections = [_section(one) for _, one in found]
    return "\n".join([PREFACE.replace("{measures}", measures), *rows, "", *sections])


def _section(one: registry.Declaration) -> str:
    what, source = split(one.summary)
    facts = {
        "Formula": one.formula,
        "Source": source,
        "Looks at": _looks(one),
        "Budget": _budget(one),
        "Cost": one.cost,
        "Version": one.version,
    }
    lines = [f"## {one.name}", "", f"{what}.", ""]
    lines += [f"- {name}: {text}" for name, text in facts.items() if text]
    lines += ["", *options_table(one.options, one.ranges)]
    lines += [one.notes, ""] if one.notes else []
    return "\n".join(lines)


def _looks(one: registry.Declaration) -> str:
    if not one.calibrated:
        return "nothing"
    return "a calibration, and matrices compressed (*measured with*)" if one.measures else "a calibration"


def _budget(one: registry.Declaration) -> str:
    if one.name == registry.UNIFORM:
        return "met, matrix by matrix"
    if one.budget:
        return "met"
    return "left, all other matrices stay dense; met with `budget: whole`"
