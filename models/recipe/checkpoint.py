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
