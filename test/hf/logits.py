"""Random-weight GPT-2s of many shapes, saved by transformers, through both engines: equal logits.

Prints TAP. FSI_TOOLS is the directory of fsi_logits. Each model is read from model.safetensors (save_pretrained) and
from pytorch_model.bin in both of torch's container formats.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

TOOL = os.path.join(os.environ.get("FSI_TOOLS", "build/tools"), "fsi_logits")
TOLERANCE = 2e-4
SHAPE = dict(n_layer=3, n_head=4, n_embd=64, n_positions=96, vocab_size=211, initializer_range=0.15,
             bos_token_id=1, eos_token_id=2)
MODELS = {
    "plain": {},
    "gelu": dict(activation_function="gelu"),
    "gelu_pytorch_tanh": dict(activation_function="gelu_pytorch_tanh"),
    "relu": dict(activation_function="relu"),
    "odd sizes": dict(n_embd=42, n_head=3, n_inner=75, vocab_size=103),
    "untied head": dict(tie_word_embeddings=False),
    "no attention scale": dict(scale_attn_weights=False),
    "scale by layer": dict(scale_attn_by_inverse_layer_idx=True),
    "layer norm epsilon": dict(layer_norm_epsilon=1e-2),
    "one deep head": dict(n_layer=7, n_head=1, n_embd=32),
    "long context": dict(n_positions=700, n_embd=32, n_layer=2),
}
count = failed = 0


def ok(good, what):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)


def make(changes, seed):
    """A model whose every weight, bias and gain is random."""
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(**{**SHAPE, **changes})).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.2 * torch.randn_like(p))
    return model


def sequences(config, seed):
    r = np.random.default_rng(seed)
    lengths = [1, 2, 17, min(60, config.n_positions), config.n_positions]
    return [r.integers(0, config.vocab_size, n).tolist() for n in lengths]


def ours(directory, batch, vocab, *options):
    text = "".join(" ".join(map(str, ids)) + "\n" for ids in batch)
    run = subprocess.run([TOOL, directory, *options], input=text.encode(), stdout=subprocess.PIPE)
    if run.returncode:
        return None
    return np.frombuffer(run.stdout, "<f4").reshape(-1, vocab)


def compare(what, got, want):
    if got is None or got.shape != want.shape:
        return ok(False, f"{what}: no logits")
    worst = float(np.abs(got - want).max())
    ok(worst < TOLERANCE, f"{what}: within 2e-4 of transformers ({worst:.1e}, logits to {np.abs(want).max():.1f})")


def agreement(got, want):
    """int8 against f32: share of positions with the same best token, mean KL."""
    p, q = (torch.log_softmax(torch.from_numpy(x.astype(np.float64)), -1) for x in (want, got))
    return float((p.argmax(-1) == q.argmax(-1)).double().mean()), float((p.exp() * (p - q)).sum(-1).mean())


def main():
    for seed, (name, changes) in enumerate(MODELS.items()):
        model = make(changes, seed)
        batch = sequences(model.config, seed)
        with torch.no_grad():
            want = torch.cat([model(torch.tensor([ids])).logits[0] for ids in batch]).numpy()
        with tempfile.TemporaryDirectory() as d:
            model.save_pretrained(d)
            weights = os.path.join(d, "model.safetensors")
            if not os.path.exists(weights):
                ok(False, f"{name}: save_pretrained wrote no model.safetensors")
                continue
            compare(f"{name}, safetensors", ours(d, batch, model.config.vocab_size), want)
            rounded = ours(d, batch, model.config.vocab_size, "int8")
            if rounded is not None:
                print("# int8: best token the same in {:.1%}, mean KL {:.1e}".format(*agreement(rounded, want)))
            os.remove(weights)
            for kind, new in (("zip", True), ("legacy", False)):
                torch.save(model.state_dict(), os.path.join(d, "pytorch_model.bin"), _use_new_zipfile_serialization=new)
                compare(f"{name}, .bin ({kind})", ours(d, batch, model.config.vocab_size), want)
    print(f"1..{count}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
