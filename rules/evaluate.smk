# Every variant answers every question; the same job stores the hidden states that probes read.

ALL_TASKS = [TASK_DONE.format(task=task) for task in study.tasks]
ANSWERS = f"{VARIANT}/answers.parquet"


rule task_data:
    input:
        lambda wildcards: task_inputs(wildcards.task),
    output:
        done=TASK_DONE,
        times=times("task_data/{task}"),
    log:
        log_of("task_data/{task}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("task_data"),
        folder=subpath(output.done, parent=True),
        source=lambda wildcards, input: ["--world", os.path.dirname(WORLD_DONE)] if WORLD_DONE in input else [],
        options=lambda wildcards: settings_json(task_options(wildcards.task)),
        definition=lambda wildcards: definition.asked(wildcards.task, task_options(wildcards.task)),
    shell:
        "python scripts/task_data.py --task {wildcards.task:q} --options {params.options:q} {params.source:q} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"


rule evaluate:
    input:
        cell=CELL_DONE,
        dense=MODEL_DONE,
        adapter=adapter_of,
        tasks=lambda wildcards: expand(TASK_DONE, task=grid.tasks(variant_of(wildcards))),
        probes=lambda wildcards: expand(PROBE_DONE, probe=grid.probes_of(variant_of(wildcards))),
    output:
        answers=ANSWERS,
        features=FEATURES_DONE if study.probes else [],
        times=times(f"evaluate/{CELL}/{{recovery}}"),
    log:
        log_of(f"evaluate/{CELL}/{{recovery}}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("evaluate"),
        variant=lambda wildcards, input: os.path.dirname(input.adapter or input.cell),
        tasks=lambda wildcards, input: [os.path.dirname(path) for path in input.tasks],
        probes=lambda wildcards, input, output: probe_arguments(variant_of(wildcards), input.probes, output.features),
        dense=lambda wildcards, input: os.path.dirname(input.dense),
        cache=f"{STORE}/answers",
        row=lambda wildcards: variant_of(wildcards).row,
    shell:
        "python scripts/evaluate.py --variant {params.variant:q} --dense {params.dense:q} "
        "--tasks {params.tasks:q} {params.probes:q} "
        "--model {params.row[model]:q} --label {params.row[label]:q} --method {params.row[method]:q} "
        "--level {params.row[level]:q} --seed {params.row[seed]} --recovery {params.row[recovery]:q} "
        "--cache {params.cache:q} --output {output.answers:q} --times {output.times:q} 2> {log:q}"
