"""Logging, checkpoints and hooks of every run."""

default_scope = "mmpretrain"
custom_imports = dict(imports=["mmorderless"], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="WholeCheckpointHook",
        interval=1,
        max_keep_ckpts=2,
        save_best="set/OF1",
        rule="greater",
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
custom_hooks = [
    dict(type="DeterministicResumeHook"),
    dict(type="ValidateOnResumeHook"),
    dict(type="CheckpointMatchHook"),
    dict(type="TrainingLabelsHook"),
    dict(type="ScoreNamesHook"),
    dict(type="FiniteLossHook"),
    dict(type="TrainingContextHook"),
    dict(type="LabelSetReportHook"),
]

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="UniversalVisualizer", vis_backends=vis_backends)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)
