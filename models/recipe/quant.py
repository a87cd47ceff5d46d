"""The int8 arithmetic of the serving engine, simulated in floats.

An output channel's weights and a token's embedding are rows of scale absmax / 127, their values are rounded half to even
and lie in -127 … 127. A token's activations are a row whose range, with 0 in it, has 252 steps from its least to its
largest value. wpe, biases, layer norms and the readout stay float32.
"""
import torch


def rows(x):
    """x as whole numbers of -127 … 127 and the scale of each row (last dimension)."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return torch.round(x / scale).clamp_(-127, 127), scale


def rounded(x):
    """x with every row rounded to int8 and scaled back."""
    values, scale = rows(x)
    return values * scale


def activations(x):
    """x with every row rounded to the 8-bit steps of its own range."""
    scale = (x.amax(-1, keepdim=True).clamp_min(0) - x.amin(-1, keepdim=True).clamp_max(0)).clamp_min(1e-30) / 252
    return torch.round(x / scale) * scale


def straight_through(x, form=rounded):
    """Rounded forwards, the identity backwards."""
    return x + (form(x) - x).detach()


@torch.no_grad()
def round_weights(student):
    """Replace a student's matrices and token rows by their rounded values (activations stay float)."""
    student.wte.weight.copy_(rounded(student.wte.weight))
    for block in student.blocks:
        for name in ("c_attn", "c_proj", "c_fc", "m_proj"):
            w = getattr(block, name).weight
            w.copy_(rounded(w))
    return student
