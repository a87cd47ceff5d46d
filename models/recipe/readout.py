"""The pointing readout: from similarities to a label. This docstring is the formula the C engine follows.

For a message m and a segment s (an intent's name, a description of it, or one of its examples):

    sim(m, s) = cos(z_m Q, z_s K) + w cos(g_m, g_s)

z is the segment's pooled unit vector (student.py) as a row, Q and K the 384 x 384 matrices `fsi.readout.q` and
`fsi.readout.k` (row vector times matrix), g the spelling vector (spelling.py), w = `spelling_weight`. The cosine with
a zero vector is 0.

A candidate has a name, D >= 0 descriptions and E >= 0 examples:

    N = sim(name)                                                            when D = 0
    N = (sim(name) + v mean(sim(description))) / (1 + v)                     otherwise, v = `description_weight`
    X = sum(e^(t s) s) / sum(e^(t s)) over its examples' sims s              t = `example_sharpness`; 0 is the mean

    F = d (z_m Q) . direction(candidate), z_m Q of unit length               d = `discriminant_share`
                                                                             0 where no candidate has examples
    name alone:          logit = name_scale (N + F) + name_bias
    examples and name:   logit = both_scale (u N + (1 - u) X + F) + both_bias    u = `name_share`
    examples alone:      logit = example_scale (X + F) + example_bias        (only where an engine hides the names)

The directions (`directions`) are a linear discriminant between the question's candidates: with p the unit vectors z_s K of a
candidate's segments of all kinds, m_c their mean, m the mean of m_c over the n candidates,

    A = r I + sum over c of the mean of p^T p        r = `discriminant_ridge`
    direction_c = (m_c - m) A^-1

which is ridge regression of "is c's" on the segments, every candidate weighing the same. What all candidates have in common
cancels.

`other`, when it is asked for, has the logit

    other_logit + other_share log(sum(e^logit)) over the candidates

so that many close candidates, each of which says less, raise what one must reach. Scores are the softmax over the
candidates and, if asked for, `other`; the label is the highest logit, ties to the first in the canonical order. Sums over examples and
descriptions run in a canonical order that does not depend on the order of the arguments (the engine sorts similarities
ascending), so that permuting them changes no bit.

During training the same form is used with w = 0, t = 0, u = 1/2, d = 0 or, in phases of kind `shown`, 1, one learned
scale and one learned `other` (`Head`); the other scalars are chosen afterwards on validation sets (choose.py).
"""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

DEFAULTS = {"spelling_weight": 1.0, "description_weight": 1.0, "example_sharpness": 0.0, "name_share": 0.5,
            "name_scale": 16.0, "name_bias": 0.0, "both_scale": 16.0, "both_bias": 0.0, "example_scale": 16.0,
            "example_bias": 0.0, "other_logit": 5.0, "other_share": 0.0,
            "discriminant_share": 0.0, "discriminant_ridge": 0.1}
NAME, DESCRIPTION, EXAMPLE = range(3)


class Head(nn.Module):
    """The trained part of the readout: Q, K and, for training's own logits, a scale, an offset and `other`."""

    def __init__(self, width=384):
        super().__init__()
        self.q, self.k = nn.Parameter(torch.eye(width)), nn.Parameter(torch.eye(width))
        self.log_scale = nn.Parameter(torch.tensor(math.log(16.0)))
        self.name_bias = nn.Parameter(torch.tensor(0.0))
        self.other = nn.Parameter(torch.tensor(5.0))

    @classmethod
    def of(cls, state):
        head = cls(len(state["q"]))
        head.load_state_dict(state)
        return head

    def project(self, zm, zs):
        """z_m Q and z_s K, of unit length."""
        return F.normalize(zm @ self.q, dim=-1), F.normalize(zs @ self.k, dim=-1)

    def meaning(self, zm, zs):
        """cos(z_m Q, z_s K): (…, M, C), (…, S, C) -> (…, M, S)."""
        m, p = self.project(zm, zs)
        return m @ p.transpose(-1, -2)

    def logits(self, zm, zs, owner, kind, n, discriminant=0.0):
        """Training's logits of n candidates and, last, `other`: (…, M, n + 1), from messages (…, M, C), segments
        (…, S, C), their candidates and kinds (…, S); owner -1 is no segment. Candidates without segments get -1e4."""
        m, p = self.project(zm, zs)
        s = m @ p.transpose(-1, -2)
        examples = kind == EXAMPLE

        def mean(rows):
            """Mean over each candidate's segments: (…, M, n); and which candidates have any: (…, 1, n)."""
            hit = F.one_hot(owner.clamp_min(0), n).to(s.dtype) * (rows & (owner >= 0))[..., None]
            count = hit.sum(-2, keepdim=True)
            return s @ hit / count.clamp_min(1), count > 0

        x, has_x = mean(examples)
        names, has_n = mean(~examples)
        names = names + torch.where(has_x, 0.0, 1.0) * self.name_bias / self.log_scale.exp()
        mixed = torch.where(has_x & has_n, (names + x) / 2, torch.where(has_x, x, names))
        if discriminant:
            f = m @ apart(p, owner, n, DEFAULTS["discriminant_ridge"]).transpose(-1, -2)
            mixed = mixed + discriminant * torch.where(has_x.any(-1, keepdim=True), f, 0.0)
        logits = torch.where(has_x | has_n, self.log_scale.exp() * mixed, torch.tensor(-1e4, device=s.device))
        return torch.cat([logits, self.other.expand(*logits.shape[:-1], 1)], -1)


def apart(p, owner, n, ridge):
    """`directions` of several questions, to train through: (…, n, C) from segments (…, S, C) and their candidates (…, S); owner -1
    is no segment, and a candidate without segments has no direction (0)."""
    hit = F.one_hot(owner.clamp_min(0), n).to(p.dtype) * (owner >= 0)[..., None]
    each = hit / hit.sum(-2, keepdim=True).clamp_min(1)  # a segment's weight, in its candidate's column
    means, here = each.transpose(-1, -2) @ p, hit.any(-2)[..., None]
    v = (means - means.sum(-2, keepdim=True) / here.sum(-2, keepdim=True)) * here
    u = p * each.sum(-1, keepdim=True).sqrt()
    inner = u @ u.transpose(-1, -2) + ridge * torch.eye(u.shape[-2], device=p.device)
    return (v - v @ u.transpose(-1, -2) @ torch.cholesky_solve(u, torch.linalg.cholesky(inner))) / ridge


def other(logits, scalars):
    """The logit of `other` beside these candidates' logits."""
    top = max(logits)
    return scalars["other_logit"] + scalars["other_share"] * (top + math.log(sum(sorted(math.exp(x - top) for x in logits))))


def directions(p, owner, n, ridge):
    """(n, C): the linear discriminant's directions of n candidates, from segments p (S, C) and their candidates (S,)."""
    p, owner = np.asarray(p, np.float64), np.asarray(owner)
    weight = 1 / np.bincount(owner, minlength=n)[owner]
    means = np.zeros((n, p.shape[1]))
    np.add.at(means, owner, p * weight[:, None])
    v, u = means - means.mean(0), p * np.sqrt(weight)[:, None]
    if len(p) < p.shape[1]:  # the same by the smaller matrix (Woodbury)
        return (v - v @ u.T @ np.linalg.solve(u @ u.T + ridge * np.eye(len(u)), u)) / ridge
    return np.linalg.solve(u.T @ u + ridge * np.eye(p.shape[1]), v.T).T


def mix(sims, kinds, scalars, apart=0.0):
    """One candidate's logit from its segments' sims and F (`apart`): the formula above, in plain Python. Sums run ascending."""
    name = [s for s, k in zip(sims, kinds) if k == NAME]
    told = sorted(s for s, k in zip(sims, kinds) if k == DESCRIPTION)
    shown = sorted(s for s, k in zip(sims, kinds) if k == EXAMPLE)
    c = scalars
    if name:
        n, v = name[0], c["description_weight"]
        if told:
            n = (n + v * sum(told) / len(told)) / (1 + v)
    if shown:
        e = [math.exp(c["example_sharpness"] * s) for s in shown]
        x = sum(a * s for a, s in zip(e, shown)) / sum(e)
        if not name:
            return c["example_scale"] * (x + apart) + c["example_bias"]
        return c["both_scale"] * (c["name_share"] * n + (1 - c["name_share"]) * x + apart) + c["both_bias"]
    return c["name_scale"] * (n + apart) + c["name_bias"]
