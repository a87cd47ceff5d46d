"""Gradients of one GPT-2 by torch as C: python3 test/data/torch_gradients.py >test/unit/torch_gradients.h (written once, kept).

test/unit/test_train_torch.c compares the trainer's with them, where no torch is. Weights and rows are formulas that both
sides compute. Of each tensor two numbers are kept: the gradient's length, and its dot product with a wave.
"""
import math

import torch
from transformers import GPT2Config, GPT2LMHeadModel

LAYERS, HEADS, WIDTH, INNER, POSITIONS, VOCABULARY = 2, 3, 24, 56, 16, 41
LENGTHS = (16, 3, 9)
PER_LAYER = ("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "attn.c_proj.bias",
             "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias")
NAMES = ["wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"] + [f"h.{i}.{n}" for i in range(LAYERS) for n in PER_LAYER]


def wave(n, step):
    return torch.tensor([math.sin(1 + step * i) for i in range(n)], dtype=torch.float64)


def main():
    model = GPT2LMHeadModel(GPT2Config(
        attn_implementation="eager", n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, n_inner=INNER, n_positions=POSITIONS,
        vocab_size=VOCABULARY)).eval().double()
    tensors = dict(model.transformer.named_parameters())
    with torch.no_grad():
        for number, name in enumerate(NAMES):
            gain = 1 if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")) else 0
            p = tensors[name]
            p.copy_((gain + 0.3 * wave(p.numel(), 0.7 + 0.01 * number)).view_as(p))
    total, count = 0, 0
    for r, n in enumerate(LENGTHS):
        ids = torch.tensor([[(7 * r + 5 * i + i * i) % VOCABULARY for i in range(n)]])
        logits = model(ids).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="sum")
        count += n - 1
    (total / count).backward()
    print(f"/* By test/data/torch_gradients.py with torch {torch.__version__.split('+')[0]}, in double. */")
    print(f"static const double torch_loss = {(total / count).item():.12g};")
    print("static const struct\n{\n\tconst char *name;\n\tdouble\t\tlength,\n\t\t\t\tdot;\n}\t\t\ttorch_gradients[] = {")
    for name in NAMES:
        g = tensors[name].grad.flatten()
        print(f'\t{{"{name}", {g.norm().item():.12g}, {(g @ wave(g.numel(), 0.3)).item():.12g}}},')
    print("};")


if __name__ == "__main__":
    main()
