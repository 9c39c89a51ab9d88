from . import data, parts, training

# By the name that --only takes, in the order of the table.
BENCHMARKS = dict(
    training=training.training_step,
    mmpretrain=training.mmpretrain_moco,
    lightly=training.lightly_moco,
    networks=parts.networks,
    one_pass=parts.one_pass,
    augmentation=data.augmentation,
    momentum_encoder=parts.momentum_encoder,
    optimizers=parts.optimizers,
    sinkhorn=parts.sinkhorn,
    losses=parts.losses,
    decoded=data.decoded,
    features=data.features,
    neighbors=data.neighbors,
    evaluation=data.evaluation,
    kept_memory=data.kept,
)
