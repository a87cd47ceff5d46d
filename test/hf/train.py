"""Gradients of random-weight GPT-2s by torch against the trainer's, for each activation, head and attention scale.

Prints TAP. FSI_TOOLS is the directory of fsi_grad.
"""
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import save_file

from logits import MODELS, make

TOOL = os.path.join(os.environ.get("FSI_TOOLS", "build/tools"), "fsi_grad")


def gradients(model, rows):
    """Mean cross-entropy over the targets of all rows, and its gradient by name."""
    total, count = 0, 0
    for ids in rows:
        logits = model(torch.tensor([ids])).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum")
        count += len(ids) - 1
    (total / count).backward()
    named = {name.removeprefix("transformer."): p.grad.contiguous() for name, p in model.named_parameters()}
    return (total / count).item(), named


def main():
    failed = 0
    for number, (name, changes) in enumerate(MODELS.items(), 1):
        model = make(changes, number)
        r = torch.Generator().manual_seed(number)
        rows = [torch.randint(model.config.vocab_size, (n,), generator=r).tolist()
                for n in (2, 7, 33, model.config.n_positions)]
        with tempfile.TemporaryDirectory() as d:
            model.save_pretrained(d)
            loss, named = gradients(model, rows)
            save_file(named, os.path.join(d, "gradients"))
            text = "".join(" ".join(map(str, ids)) + "\n" for ids in rows)
            run = subprocess.run([TOOL, d, os.path.join(d, "gradients"), repr(loss)], input=text.encode(),
                                 stdout=subprocess.PIPE)
        worst = max((float(line.split()[1]) for line in run.stdout.decode().splitlines()), default=float("nan"))
        failed += run.returncode != 0
        print(f"{'not ok' if run.returncode else 'ok'} {number} - {name}: torch's gradients (worst {worst:.1e})",
              flush=True)
    print(f"1..{len(MODELS)}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
