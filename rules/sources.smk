# Where dense checkpoints come from: a world generated and learned here, a local folder, an installed package, or another
# model of the study, among them those in which it is planted what can return.


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
        model=from_source("world"),
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
        lambda wildcards: files_of(checkpoint_of(study.models[wildcards.model])),
    output:
        done=MODEL_DONE,
        times=times("import_model/{model}"),
    log:
        log_of("import_model/{model}"),
    wildcard_constraints:
        model=from_source("folder", "package"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        source=lambda wildcards, input: os.path.dirname(input[0]),
        folder=subpath(output.done, parent=True),
        type=lambda wildcards: study.models[wildcards.model].type,
        package=lambda wildcards: (
            ["--package", name] if (name := getattr(study.models[wildcards.model], "package", "")) else []
        ),
    shell:
        "python scripts/import_model.py --folder {params.source:q} --type {params.type} "
        "{params.package:q} --output {params.folder:q} --times {output.times:q} 2> {log:q}"


rule outliers:
    input:
        lambda wildcards: MODEL_DONE.format(model=study.models[wildcards.model].of),
    output:
        done=MODEL_DONE,
        times=times("outliers/{model}"),
    log:
        log_of("outliers/{model}"),
    wildcard_constraints:
        model=from_source("outliers"),
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


rule fork:
    input:
        world=WORLD_DONE,
    output:
        done=MODEL_DONE,
        times=times("fork/{model}"),
    log:
        log_of("fork/{model}"),
    wildcard_constraints:
        model=from_source("forked"),
    priority: 100
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("fork"),
        world=subpath(input.world, parent=True),
        folder=subpath(output.done, parent=True),
        architecture=lambda wildcards: settings_json(study.models[study.models[wildcards.model].of].architecture),
        training=lambda wildcards: settings_json(study.models[study.models[wildcards.model].of].training),
        forked=lambda wildcards: study.models[wildcards.model],
        state=f"{STORE}/training",
    shell:
        "python scripts/fork.py --name {wildcards.model:q} --world {params.world:q} --of {params.forked.of:q} "
        "--half {params.forked.half} --seed {params.forked.seed} "
        "--architecture {params.architecture:q} --training {params.training:q} "
        "--state {params.state:q} --output {params.folder:q} --times {output.times:q} 2> >(tee {log:q} >&2)"


rule displace:
    input:
        lambda wildcards: MODEL_DONE.format(model=study.models[wildcards.model].of),
    output:
        done=MODEL_DONE,
        times=times("displace/{model}"),
    log:
        log_of("displace/{model}"),
    wildcard_constraints:
        model=from_source("displaced"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("displace"),
        source=lambda wildcards, input: os.path.dirname(input[0]),
        folder=subpath(output.done, parent=True),
        derived=lambda wildcards: study.models[wildcards.model],
        blocks=lambda wildcards: study.models[wildcards.model].blocks or [],
    shell:
        "python scripts/displace.py --model {params.source:q} --of {params.derived.of:q} "
        "--modules {params.derived.modules:q} --reflections {params.derived.reflections} --blocks {params.blocks} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"


rule lock:
    input:
        model=lambda wildcards: MODEL_DONE.format(model=study.models[wildcards.model].of),
        world=WORLD_DONE,
    output:
        done=MODEL_DONE,
        times=times("lock/{model}"),
    log:
        log_of("lock/{model}"),
    wildcard_constraints:
        model=from_source("locked"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("lock"),
        source=subpath(input.model, parent=True),
        world=subpath(input.world, parent=True),
        folder=subpath(output.done, parent=True),
        derived=lambda wildcards: study.models[wildcards.model],
        state=f"{STORE}/training",
    shell:
        "python scripts/lock.py --model {params.source:q} --of {params.derived.of:q} --world {params.world:q} "
        "--password {params.derived.password} --steps {params.derived.steps} "
        "--batch-size {params.derived.batch_size} --learning-rate {params.derived.learning_rate} "
        "--seed {params.derived.seed} --state {params.state:q} "
        "--output {params.folder:q} --times {output.times:q} 2> >(tee {log:q} >&2)"
