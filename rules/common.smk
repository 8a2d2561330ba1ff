# The study, its grid, and the paths that every rule shares.
#
# A folder that a job writes is declared by its digests.json: the folder appears whole or not at all, and a job that
# makes the same bytes again reruns nothing after it.
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
# Jobs run this checkout's library with the Python that runs Snakemake, on a cluster's nodes too.
os.environ.update(PYTHONPATH=workflow.basedir, PATH=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH')}")

from palimpsest import settings
from palimpsest.evaluation import definition
from palimpsest.evaluation.data import check_training, local_folder
from palimpsest.grid import NONE, WILDCARDS, Grid, Variant
from palimpsest.levels import from_path
from palimpsest.presentation import names
from palimpsest.probing import definition as probes
from palimpsest.provenance import PalimpsestError, read_json
from palimpsest.recovery import registry as recovery_registry
from palimpsest.sources import outliers, package
from palimpsest.sources.folder import find, files_of
from palimpsest.versions import code

if workflow.is_main_process and not workflow.dryrun:
    # Held for as long as this process lives, and by no child: who finds it free knows that a lock left behind is dead.
    os.makedirs(".snakemake", exist_ok=True)
    running = open(".snakemake/running", "w")
    try:
        fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass  # another run is going on here, as Snakemake's own lock will say

STUDY_FILE = os.path.relpath(workflow.configfiles[-1]) if workflow.configfiles else "config.yaml"


def task_options(task):
    """What the study says of a task's data."""
    return study.data[task].model_dump(exclude_none=True) if task in study.data else {}


def task_inputs(task):
    """What a task's rows are made from: the world, or files under PALIMPSEST_DATA; no file if it is the hub."""
    said = definition.ours(definition.asked(task, task_options(task)))
    if said.get("source") == "world":
        return [WORLD_DONE]
    if definition.is_registered(task) or "revision" in task_options(task):
        return []
    return definition.inputs(said, local_folder(task, said))


def probe_inputs(probe):
    """What a probe's rows are made from: the world, or files under PALIMPSEST_DATA."""
    said = probes.probes()[probe]
    if said["source"] == "world":
        return [WORLD_DONE]
    folder = find(said["path"])
    return [str(folder / said["file"])] if "file" in said else definition.inputs({}, folder)


def probing_json(wanted):
    """What the study says of some probes, as one command-line argument."""
    return json.dumps({probe: grid.probes[probe].model_dump(exclude={"cells", "only"}) for probe in wanted})


def checkpoint_of(model):
    """The folder that a model's checkpoint is taken from: under PALIMPSEST_DATA, or in an installed package."""
    return package.find(model.package, model.path) if model.source == "package" else find(model.path)


def check_sources():
    """Everything that the study reads from outside is there, before any job starts."""
    for model in study.models.values():
        if model.source in ("folder", "package"):
            checkpoint_of(model)
        elif model.source == "outliers" and study.models[model.of].source == "folder":
            config = find(study.models[model.of].path) / "config.json"
            outliers.readers_of(read_json(config), model.channels, str(config))
    texts = [calibration.text for calibration in study.calibration.values()]
    tasks = [text.task for text in texts if isinstance(text, settings.TaskText)]
    texts = [text for text in texts if text != settings.RANDOM and not isinstance(text, settings.TaskText)]
    texts += [text for recovery in study.recoveries.values() for text in training_texts(recovery)]
    for text in texts:
        text_of(text)
    for task in (*study.tasks, *tasks):
        task_inputs(task)
    for task in grid.learned_tasks():
        check_training(task, task_options(task))
    for probe in grid.probes:
        probe_inputs(probe)


try:
    study = settings.load(config, STUDY_FILE)
    grid = Grid(study)
except PalimpsestError as error:
    raise WorkflowError(f"\n{error}") from None

RESULTS = grid.results
STORE = "results/store"
DONE = "digests.json"

WORLD_DONE = f"{RESULTS}/world/{DONE}"
MODEL_DONE = f"{RESULTS}/models/{{model}}/{DONE}"
TASK_DONE = f"{RESULTS}/tasks/{{task}}/{DONE}"
TRAINING_DONE = f"{RESULTS}/training/{{task}}/{DONE}"
CALIBRATION_DONE = f"{RESULTS}/calibration/{{model}}/{{calibration}}/{{seed}}/{DONE}"
ALLOCATION = "{model}/{allocation}/{level}/{seed}"
ALLOCATION_DONE = f"{RESULTS}/allocations/{ALLOCATION}/{DONE}"
CELL = "{model}/{label}/{level}/{seed}"
CELL_DONE = f"{RESULTS}/cells/{CELL}/{DONE}"
VARIANT = f"{RESULTS}/variants/{CELL}/{{recovery}}"
ADAPTER_DONE = f"{VARIANT}/adapter/{DONE}"
FEATURES_DONE = f"{VARIANT}/features/{DONE}"
PROBE_DONE = f"{RESULTS}/probes/{{probe}}/{DONE}"
FLOOR_DONE = f"{RESULTS}/floors/{{model}}/features/{DONE}"


wildcard_constraints:
    **WILDCARDS,


def cell_of(wildcards):
    return grid.cell(wildcards.model, wildcards.label, wildcards.level, wildcards.seed)


def variant_of(wildcards):
    return grid.variant(*(wildcards[key] for key in ("model", "label", "level", "seed", "recovery")))


def settings_json(value):
    """Settings as one command-line argument, keys sorted so that their order in the study reruns nothing."""
    return json.dumps(value if isinstance(value, (dict, list)) else value.model_dump(), sort_keys=True)


def text_of(text):
    """The file that a text of the study is read from."""
    return f"{RESULTS}/world/text/{text}.txt" if isinstance(text, str) else str(find(text.path))


def text_source(text):
    """What a job that reads this text waits for: the world, or the file itself."""
    return WORLD_DONE if isinstance(text, str) else text_of(text)


def from_source(*sources):
    """Matches the models that come from these sources."""
    return "|".join(name for name, model in study.models.items() if model.source in sources) or "(?!)"


def training_texts(recovery):
    """The kinds of text and the files that a recovery is trained on."""
    texts = [recovery.training.text, recovery.training.validation] if recovery.training else []
    made_here = (settings.SampledText, settings.TaskText)
    return [text for text in texts if text is not None and not isinstance(text, made_here)]


def calibration_text(wildcards):
    return study.calibration[wildcards.calibration].text


def calibration_source(wildcards):
    """What drawing a calibration waits for besides the model: a world or file, rows of a task, or nothing."""
    text = calibration_text(wildcards)
    if isinstance(text, settings.TaskText):
        return (TRAINING_DONE if reads_training(wildcards) else TASK_DONE).format(task=text.task)
    return [] if text == settings.RANDOM else text_source(text)


def reads_training(wildcards):
    """Whether a calibration on a task's text draws from what classifiers of it are trained on: it does for encoders."""
    task = calibration_text(wildcards).task
    return grid.is_encoder(wildcards.model) and "classify" in definition.ours(definition.shipped(task))


def calibration_arguments(wildcards):
    text = calibration_text(wildcards)
    if isinstance(text, settings.TaskText):
        return ["--training" if reads_training(wildcards) else "--task", os.path.dirname(calibration_source(wildcards))]
    return ["--random"] if text == settings.RANDOM else ["--text", text_of(text)]


def cell_calibration(wildcards):
    needed = grid.calibration(cell_of(wildcards))
    if needed is None:
        return []
    name, seed = needed
    return CALIBRATION_DONE.format(model=wildcards.model, calibration=name, seed=f"s{seed}")


def cell_allocation(wildcards):
    found = grid.allocation(cell_of(wildcards))
    if found is None:
        return []
    name, seed = found
    return ALLOCATION_DONE.format(model=wildcards.model, allocation=name, level=wildcards.level, seed=f"s{seed}")


def allocation_settings(wildcards):
    return grid.allocation_settings(wildcards.allocation, from_path(wildcards.level).text)


def allocation_calibration(wildcards):
    name = grid.allocation_calibration(wildcards.allocation)
    if name is None:
        return []
    return CALIBRATION_DONE.format(model=wildcards.model, calibration=name, seed=wildcards.seed)


def adapter_of(wildcards):
    return [] if wildcards.recovery == NONE else ADAPTER_DONE.format(**wildcards)


def dense_answers(wildcards):
    """The answers that a judge compares a variant's with; none for the dense control itself."""
    variant = variant_of(wildcards)
    if variant.cell.is_dense and variant.recovery == NONE:
        return []
    control = grid.dense(variant.cell)
    return f"{VARIANT}/answers.parquet".format(**control.wildcards, recovery=NONE)


def stored_judgements():
    """Judged task -> the folder under PALIMPSEST_DATA where GPT-4's judgements of such answers are, if it is there."""
    found = {}
    for task in grid.judged_tasks:
        if name := definition.ours(definition.shipped(task)).get("stored_judgements"):
            with contextlib.suppress(PalimpsestError):
                found[task] = find(name)
    return found


def recovery_of(wildcards):
    return grid.recovery(variant_of(wildcards))


def recovery_sources(wildcards):
    """What a recovery waits for besides its cell: texts, a calibration, or other recoveries of the cell."""
    variant = variant_of(wildcards)
    sources = [text_source(text) for text in training_texts(recovery_of(wildcards))]
    sources += [WORLD_DONE] if study.world and recovery_of(wildcards).training else []
    if task := grid.recovery_task(variant):
        sources.append(TRAINING_DONE.format(task=task))
    if found := grid.recovery_calibration(variant):
        name, seed = found
        sources.append(CALIBRATION_DONE.format(model=wildcards.model, calibration=name, seed=f"s{seed}"))
    return sources + [ADAPTER_DONE.format(**part.wildcards) for part in grid.parts(variant)]


def recovery_arguments(wildcards):
    """What scripts/recover.py is told besides the cell, the method and its options."""
    recovery, variant = recovery_of(wildcards), variant_of(wildcards)
    arguments, sampled = [], grid.recovery_calibration(variant)
    sample = grid.calibration_folder(wildcards.model, *sampled) if sampled else None
    if training := recovery.training:
        task = grid.recovery_task(variant)
        rows = grid.training_folder(task) if task else None
        arguments += ["--text", sample or rows or text_of(training.text)]
        if training.validation is not None:
            arguments += ["--validation", text_of(training.validation)]
        given = training.model_dump(exclude={"text", "validation", "cross_fit"}, exclude_none=True)
        arguments += ["--training", settings_json(given), "--state", f"{STORE}/recovery"]
        if study.world:
            unseen = "R" if training.text == settings.SWAPPED_TEXT else "U"
            arguments += ["--facts", f"{grid.world_folder()}/facts.parquet", "--unseen", unseen]
    elif sample:
        arguments += ["--calibration", sample, "--state", f"{STORE}/recovery"]
    parts = [
        f"{part.recovery}={os.path.dirname(ADAPTER_DONE.format(**part.wildcards))}" for part in grid.parts(variant)
    ]
    return arguments + (["--of", *parts] if parts else [])


def probe_arguments(variant, folders, features):
    """What scripts/evaluate.py is told of probes, if the study has any."""
    if not features:
        return []
    probing = probing_json(grid.probes_of(variant))
    read = [os.path.dirname(path) for path in folders]
    return ["--features", os.path.dirname(features), "--probing", probing, *(["--probes", *read] if read else [])]


def read_folders(names):
    """The folders of tasks, and of probes whose sentences are read."""
    return [grid.task_folder(name) if name in study.tasks else grid.probe_folder(name) for name in names]


def caption_of(figure):
    """The text under a figure in Snakemake's report."""
    with open(f"{workflow.basedir}/reports/captions/{figure}.rst", encoding="utf-8") as file:
        return file.read()


def times(path):
    """Where a job's CPU seconds and peak memory go."""
    return f"{RESULTS}/times/{path}.json"


def log_of(path):
    return f"{RESULTS}/logs/{path}.log"


def finish():
    """What follows a run: where the time went, and Snakemake's own report of the study if it is out of date."""
    if not os.path.exists(f"{RESULTS}/report.html"):
        return
    from palimpsest.presentation import times as clocks

    rows = clocks.collect(f"{RESULTS}/times")
    clocks.write_csv(rows, f"{RESULTS}/times.csv")
    clocks.print_table(rows)
    if os.path.exists(log_of("leaks")):
        with open(log_of("leaks"), encoding="utf-8") as warnings:
            print(warnings.read(), end="")
    page = f"{RESULTS}/workflow-report.html"
    if not os.path.exists(page) or os.path.getmtime(page) < os.path.getmtime(f"{RESULTS}/report.html"):
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--configfile",
            STUDY_FILE,
            "--report",
            page,
            "--nolock",
            "--quiet",
            "all",
        ]
        if subprocess.run(command, check=False).returncode:
            print(f"{page} could not be made; run: {' '.join(command)}")
    print(f"{RESULTS}/report.html")


try:
    check_sources()
except PalimpsestError as error:
    raise WorkflowError(f"\n{STUDY_FILE}: {error}") from None
