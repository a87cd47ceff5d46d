"""A training step of bench_train.c's model and batch in PyTorch, written as one would to be fast on CPUs.

    peer_train.py KIND THREADS PEERS DROPOUT SHAPE

KIND: torch. Fused attention, fused AdamW, gradients clipped to 1, fp32. Requests: `steps N`.
"""
import os
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from serve import serve, timed  # noqa: E402

HEADS, POSITIONS, ROWS = 12, 512, 64
SHAPES = {"small": (6, 384, 12000, 16, 256), "base": (12, 768, 21128, 4, 64)}
LAYERS, WIDTH, VOCABULARY, BATCH, LENGTH = SHAPES[sys.argv[5]]


class Block(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.dropout = dropout
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.dropout)
        x = x + F.dropout(self.proj(a.transpose(1, 2).reshape(b, t, WIDTH)), self.dropout)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")), self.dropout)


class Gpt2(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.dropout = dropout
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = F.dropout(self.tokens(ids) + self.positions.weight[:ids.shape[1]], self.dropout)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


def main():
    threads, dropout = int(sys.argv[2]), float(sys.argv[4])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = Gpt2(dropout)
    rows = torch.randint(VOCABULARY, (ROWS, LENGTH + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0, fused=True)

    def step():
        ids = rows[torch.randperm(ROWS)[:BATCH]]
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        return loss.item()

    def steps(n):
        cpu = time.process_time()
        seconds, losses = timed(lambda: [step() for _ in range(n)])
        return {"seconds": seconds, "cpu": time.process_time() - cpu, "tokens": n * BATCH * LENGTH, "loss": losses[-1],
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}

    serve({"version": torch.__version__}, {"steps": steps})


if __name__ == "__main__":
    main()
