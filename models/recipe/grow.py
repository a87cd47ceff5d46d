#!/usr/bin/env python3
"""Make a student of twice the width that computes what a trained one does, to train on from: the `base` edition's start.

    grow.py --work WORK FROM.pt       the weights FROM.pt, doubled, become WORK/checkpoint.pt

Every row of the residual stream stands there twice, heads and hidden units too; what reads a doubled row weighs its two
copies unevenly (shares drawn around one half, adding up to one), so that they learn different things from the first
step on. The pooled vector is the old one twice, at unit length again, and so are the teacher's targets (losses.py).
After Chen, Goodfellow and Shlens, Net2Net, 2016.
"""
import argparse

import torch

import checkpoint

SPREAD = 0.15  # of the shares around one half


def out(w):
    """Twice the outputs: rows of a matrix, or elements of a vector."""
    return torch.cat([w, w])


def into(w, generator):
    """Twice the inputs of a matrix (out, in)."""
    share = 0.5 + SPREAD * (2 * torch.rand(w.shape, generator=generator) - 1)
    return torch.cat([w * share, w * (1 - share)], 1)


def doubled(state, generator):
    """A student's weights at twice the width (and twice the heads)."""
    grown = {}
    for name, w in state.items():
        if name in ("wte.weight", "wpe.weight"):
            grown[name] = torch.cat([w, w], 1)
        elif w.dim() == 1 and "c_attn" not in name:
            grown[name] = out(w)
        elif "c_attn" in name:  # queries, keys and values stand one after the other
            parts = [out(into(p, generator) if w.dim() == 2 else p) for p in w.chunk(3)]
            grown[name] = torch.cat(parts)
        else:
            grown[name] = out(into(w, generator))
    return grown


def doubled_head(head, generator):
    """The readout's: cos(zQ, zK) stays, with z twice at unit length."""
    return {k: out(into(v.T, generator)).T.contiguous() if v.dim() == 2 else v for k, v in head.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("--work", required=True)
    a = p.parse_args()
    c, generator = checkpoint.load(a.weights), torch.Generator().manual_seed(1)
    checkpoint.save(f"{a.work}/checkpoint.pt", {"phase": c.get("phase", 0), "step": 0, "optimiser": None,
                                                "student": doubled(c["student"], generator),
                                                "head": doubled_head(c["head"], generator)})


if __name__ == "__main__":
    main()
