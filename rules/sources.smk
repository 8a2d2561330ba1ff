# Where dense checkpoints come from: a world generated and learned here, a local folder, or another model of the study.


rule world:
    output:
        done=WORLD_DONE,
        times=times("world"),
    log:
        log_of("world"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("world"),
        folder=subpath(output.done, parent=True),
        settings=settings_json(study.world) if study.world else "",
    shell:
        "python scripts/world.py --settings {params.settings:q} --output {params.folder:q} "
        "--times {output.times:q} 2> {log:q}"


rule train:
    # The progress bar goes to the terminal and to the log.
    input:
        world=WORLD_DONE,
    output:
        done=MODEL_DONE,
        times=times("train/{model}"),
    log:
        log_of("train/{model}"),
    wildcard_constraints:
        model="|".join(name for name, model in study.models.items() if model.source == "world") or "(?!)",
    priority: 100
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("train"),
        world=subpath(input.world, parent=True),
        folder=subpath(output.done, parent=True),
        architecture=lambda wildcards: settings_json(study.models[wildcards.model].architecture),
        training=lambda wildcards: settings_json(study.models[wildcards.model].training),
        state=f"{STORE}/training",
    shell:
        "python scripts/train.py --name {wildcards.model:q} --world {params.world:q} "
        "--architecture {params.architecture:q} --training {params.training:q} "
        "--state {params.state:q} --output {params.folder:q} --times {output.times:q} 2> >(tee {log:q} >&2)"


rule import_model:
    input:
        lambda wildcards: files_of(find(study.models[wildcards.model].path)),
    output:
        done=MODEL_DONE,
        times=times("import_model/{model}"),
    log:
        log_of("import_model/{model}"),
    wildcard_constraints:
        model="|".join(name for name, model in study.models.items() if model.source == "folder") or "(?!)",
    conda:
        "../envs/palimpsest.yaml"
    params:
        source=lambda wildcards, input: os.path.dirname(input[0]),
        folder=subpath(output.done, parent=True),
    shell:
        "python scripts/import_model.py --folder {params.source:q} --output {params.folder:q} "
        "--times {output.times:q} 2> {log:q}"


rule outliers:
    input:
        lambda wildcards: MODEL_DONE.format(model=study.models[wildcards.model].of),
    output:
        done=MODEL_DONE,
        times=times("outliers/{model}"),
    log:
        log_of("outliers/{model}"),
    wildcard_constraints:
        model="|".join(name for name, model in study.models.items() if model.source == "outliers") or "(?!)",
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("outliers"),
        source=lambda wildcards, input: os.path.dirname(input[0]),
        folder=subpath(output.done, parent=True),
        derived=lambda wildcards: study.models[wildcards.model],
    shell:
        "python scripts/outliers.py --model {params.source:q} --of {params.derived.of:q} "
        "--channels {params.derived.channels} --scale {params.derived.scale} --seed {params.derived.seed} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"
