# One cell: a model compressed by one method at one level (dense/full/s0 is the control, with nothing compressed).


rule compress:
    input:
        model=MODEL_DONE,
        calibration=cell_calibration,
        allocation=cell_allocation,
    output:
        done=CELL_DONE,
        times=times(f"compress/{CELL}"),
    log:
        log_of(f"compress/{CELL}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("compress"),
        model=subpath(input.model, parent=True),
        folder=subpath(output.done, parent=True),
        calibration=lambda wildcards, input: (
            ["--calibration", os.path.dirname(input.calibration)] if input.calibration else []
        ),
        allocation=lambda wildcards, input: (
            ["--allocation", os.path.dirname(input.allocation)] if input.allocation else []
        ),
        state=f"{STORE}/walks",
        level=lambda wildcards: cell_of(wildcards).level,
        seed=lambda wildcards: cell_of(wildcards).seed,
        settings=lambda wildcards: grid.settings(cell_of(wildcards)),
        options=lambda wildcards: settings_json(grid.settings(cell_of(wildcards))["options"]),
        propagate=lambda wildcards: json.dumps(bool(grid.settings(cell_of(wildcards))["propagate"])),
    shell:
        "python scripts/compress.py --model {params.model:q} --method {params.settings[method]:q} "
        "--level {params.level:q} --label {wildcards.label:q} --seed {params.seed} --options {params.options:q} "
        "--propagate {params.propagate} {params.calibration:q} {params.allocation:q} --state {params.state:q} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"
