"""The student: a GPT-2 (pre-layer-norm, causal) of 6 layers x 384 whose segments become one unit vector each.

A segment is `<|bos|> text <|eos|>`, at most 512 tokens, positions from 0. z is the mean over all its tokens (both
marks included) of ln_f(h), at unit length. Weights are kept (out, in); export.py turns them into GPT-2's (in, out).
With `rounding` set, the forward pass rounds weights and activations as the int8 engine does (quant.py).
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

import quant

SHAPE = dict(layers=6, width=384, heads=12, inner=1536, positions=512)


class Linear(nn.Linear):
    rounding = False

    def forward(self, x):
        if not self.rounding:
            return F.linear(x, self.weight, self.bias)
        return F.linear(quant.straight_through(x, quant.activations), quant.straight_through(self.weight), self.bias)


class Block(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-5), nn.LayerNorm(width, eps=1e-5)
        self.c_attn, self.c_proj = Linear(width, 3 * width), Linear(width, width)
        self.c_fc, self.m_proj = Linear(width, inner), Linear(inner, width)

    def forward(self, x, mask=None):
        """x: (B, T, C). Causal, unless a mask (B, 1, T, T) says who sees whom. Right padding needs no mask."""
        b, t, c = x.shape
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.c_attn(self.ln_1(x)).split(c, -1))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.c_proj(a.transpose(1, 2).reshape(b, t, c))
        return x + self.m_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Student(nn.Module):
    def __init__(self, vocabulary, layers=6, width=384, heads=12, inner=1536, positions=512):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads, inner) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width, eps=1e-5)
        self.rounding = False

    @classmethod
    def of(cls, state):
        """A student of the shape that these weights have, with them."""
        (vocabulary, width), positions = state["wte.weight"].shape, len(state["wpe.weight"])
        student = cls(vocabulary, sum(k.endswith("c_fc.weight") for k in state), width,
                      width * SHAPE["heads"] // SHAPE["width"], len(state["blocks.0.c_fc.weight"]), positions)
        student.load_state_dict(state)
        return student

    def round(self, on):
        """Turn int8 rounding in the forward pass on or off."""
        self.rounding = on
        for m in self.modules():
            if isinstance(m, Linear):
                m.rounding = on
        return self

    def states(self, ids, mask=None):
        """ln_f(h) of every token: (B, T) -> (B, T, C)."""
        rows = self.wte(ids)
        h = (quant.straight_through(rows) if self.rounding else rows) + self.wpe.weight[: ids.shape[1]]
        for block in self.blocks:
            h = block(h, mask)
        return self.ln_f(h)

    def forward(self, ids, lengths):
        """Unit vectors (B, C) of right-padded segments."""
        m = (torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None])[..., None]
        h = self.states(ids).float() * m
        return F.normalize(h.sum(1) / lengths[:, None], dim=-1)
