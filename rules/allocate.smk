# How the level of a cell is shared out among its matrices: once for all labels that use it at that level.


rule allocate:
    input:
        model=MODEL_DONE,
        calibration=allocation_calibration,
    output:
        done=ALLOCATION_DONE,
        times=times(f"allocate/{ALLOCATION}"),
    log:
        log_of(f"allocate/{ALLOCATION}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("allocate"),
        model=subpath(input.model, parent=True),
        folder=subpath(output.done, parent=True),
        calibration=lambda wildcards, input: (
            ["--calibration", os.path.dirname(input.calibration)] if input.calibration else []
        ),
        state=f"{STORE}/searches",
        level=lambda wildcards: from_path(wildcards.level).text,
        seed=lambda wildcards: wildcards.seed[1:],
        settings=allocation_settings,
        options=lambda wildcards: settings_json(allocation_settings(wildcards)["options"]),
        measured_with=lambda wildcards: (
            ["--measured-with", name] if (name := allocation_settings(wildcards)["measured_with"]) else []
        ),
    shell:
        "python scripts/allocate.py --model {params.model:q} --name {wildcards.allocation:q} "
        "--method {params.settings[method]:q} --level {params.level:q} --seed {params.seed} "
        "--options {params.options:q} {params.measured_with:q} {params.calibration:q} --state {params.state:q} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"
