# What is put on a cell to bring knowledge back.


rule recover:
    input:
        cell=CELL_DONE,
        dense=MODEL_DONE,
        texts=lambda wildcards: [text_source(text) for text in recovery_texts(wildcards)],
    output:
        done=ADAPTER_DONE,
        times=times(f"recover/{CELL}/{{recovery}}"),
    log:
        log_of(f"recover/{CELL}/{{recovery}}"),
    wildcard_constraints:
        recovery=f"(?!none/){WILDCARDS['recovery']}",
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("recover"),
        cell=subpath(input.cell, parent=True),
        folder=subpath(output.done, parent=True),
        method=lambda wildcards: recovery_of(wildcards).method,
        version=lambda wildcards: recovery_registry.declared()[recovery_of(wildcards).method].version,
        options=lambda wildcards: settings_json(recovery_of(wildcards).options),
        text=lambda wildcards: text_of(recovery_of(wildcards).training.text),
        validation=recovery_validation,
        training=lambda wildcards: recovery_of(wildcards).training,
    shell:
        "python scripts/recover.py --cell {params.cell:q} --method {params.method:q} --options {params.options:q} "
        "--text {params.text:q} {params.validation:q} --steps {params.training.steps} "
        "--batch-size {params.training.batch_size} --learning-rate {params.training.learning_rate} "
        "--seed {params.training.seed} --output {params.folder:q} --times {output.times:q} 2> {log:q}"
