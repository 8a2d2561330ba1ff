# The rows of text, or of random tokens, whose activations the methods see.


rule calibrate:
    input:
        model=MODEL_DONE,
        text=calibration_source,
    output:
        done=CALIBRATION_DONE,
        times=times("calibrate/{model}/{calibration}/{seed}"),
    log:
        log_of("calibrate/{model}/{calibration}/{seed}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("calibrate"),
        model=subpath(input.model, parent=True),
        folder=subpath(output.done, parent=True),
        text=calibration_arguments,
        samples=lambda wildcards: study.calibration[wildcards.calibration].samples,
        length=lambda wildcards: study.calibration[wildcards.calibration].length,
        seed=lambda wildcards: wildcards.seed[1:],
    shell:
        "python scripts/calibrate.py --model {params.model:q} {params.text:q} --samples {params.samples} "
        "--length {params.length} --seed {params.seed} --output {params.folder:q} --times {output.times:q} 2> {log:q}"
