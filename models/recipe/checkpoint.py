"""Checkpoints: written beside their place and renamed, so that a reader never sees half of one.

A checkpoint holds the phase's name, the next step, student, head and optimiser. Nothing else is needed to go on
exactly: batches are a function of the step (batches.py), the learning rate too, and the network draws no random numbers.
"""
import os
import shutil

import torch


def save(path, state, mirror=None):
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)
    if mirror:
        copy(path, mirror)


def copy(path, mirror):
    """Copy one file into the mirror folder, atomically."""
    os.makedirs(mirror, exist_ok=True)
    to = os.path.join(mirror, os.path.basename(path))
    shutil.copyfile(path, to + ".new")
    os.replace(to + ".new", to)


def load(path, device="cpu"):
    return torch.load(path, map_location=device, weights_only=True)


def end_path(work, phase):
    """Where the weights of a phase's end are."""
    return f"{work}/end-{phase}.pt"


@torch.no_grad()
def mean(weights):
    """The even mean of several {"student": …, "head": …}."""
    first, *others = weights
    out = {part: {k: v.clone() for k, v in first[part].items()} for part in ("student", "head")}
    for seen, other in enumerate(others, 1):
        for part, state in out.items():
            for key, value in state.items():
                value.lerp_(other[part][key], 1 / (seen + 1))
    return out
