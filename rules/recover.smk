# What is put on a cell to bring knowledge back.


rule recover:
    input:
        cell=CELL_DONE,
        dense=MODEL_DONE,
        sources=recovery_sources,
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
        made_from=recovery_arguments,
    shell:
        "python scripts/recover.py --cell {params.cell:q} --method {params.method:q} --options {params.options:q} "
        "{params.made_from:q} --output {params.folder:q} --times {output.times:q} 2> {log:q}"
