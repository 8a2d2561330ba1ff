# Encoders that learn a task: its training rows, and the classifier that is trained on them.


rule training_data:
    input:
        lambda wildcards: task_inputs(wildcards.task),
    output:
        done=TRAINING_DONE,
        times=times("training_data/{task}"),
    log:
        log_of("training_data/{task}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("training_data"),
        folder=subpath(output.done, parent=True),
        source=lambda wildcards, input: ["--world", os.path.dirname(WORLD_DONE)] if WORLD_DONE in input else [],
        options=lambda wildcards: settings_json(task_options(wildcards.task)),
        definition=lambda wildcards: definition.asked(wildcards.task, task_options(wildcards.task)),
    shell:
        "python scripts/task_data.py --training --task {wildcards.task:q} --options {params.options:q} "
        "{params.source:q} --output {params.folder:q} --times {output.times:q} 2> {log:q}"


rule fine_tune:
    input:
        model=lambda wildcards: MODEL_DONE.format(model=study.models[wildcards.model].of),
        rows=lambda wildcards: TRAINING_DONE.format(task=study.models[wildcards.model].task),
    output:
        done=MODEL_DONE,
        times=times("fine_tune/{model}"),
    log:
        log_of("fine_tune/{model}"),
    wildcard_constraints:
        model=from_source("fine-tuned"),
    priority: 100
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("fine_tune"),
        source=subpath(input.model, parent=True),
        rows=subpath(input.rows, parent=True),
        folder=subpath(output.done, parent=True),
        of=lambda wildcards: study.models[wildcards.model].of,
        training=lambda wildcards: settings_json(study.models[wildcards.model].training),
        state=f"{STORE}/training",
    shell:
        "python scripts/fine_tune.py --model {params.source:q} --of {params.of:q} --rows {params.rows:q} "
        "--training {params.training:q} --state {params.state:q} "
        "--output {params.folder:q} --times {output.times:q} 2> >(tee {log:q} >&2)"
