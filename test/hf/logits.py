"""Random-weight GPT-2s of many shapes, saved by transformers, through both engines: equal logits.

Prints TAP. FSI_TOOLS is the directory of fsi_logits. Each model is read from model.safetensors (save_pretrained) and
from pytorch_model.bin in both of torch's container formats. Packed and written out again by us, transformers loads it
and gives the logits that we give for what was written.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

TOOLS = os.environ.get("FSI_TOOLS", "build/tools")
TOOL, PACK = f"{TOOLS}/fsi_logits", f"{TOOLS}/fsi_pack"
TOLERANCE = 2e-4
# eager: the default attention of transformers 4.57 leaves scale_attn_weights and scale_attn_by_inverse_layer_idx out
SHAPE = dict(attn_implementation="eager", n_layer=3, n_head=4, n_embd=64, n_positions=96, vocab_size=211, initializer_range=0.15,
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


def written(what, d, batch, vocab):
    """Pack a directory, write it out again, load that with transformers."""
    with open(f"{d}/vocab.txt", "w") as f:
        f.writelines(f"{t}\n" for t in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"t{i}" for i in range(5, vocab)])
    for command in ([PACK, d, f"{d}/packed.fsi"], [PACK, "--unpack", f"{d}/packed.fsi", f"{d}/written"]):
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            return ok(False, f"{what}: not written")
    model = GPT2LMHeadModel.from_pretrained(f"{d}/written", attn_implementation="eager").eval()
    with torch.no_grad():
        want = torch.cat([model(torch.tensor([ids])).logits[0] for ids in batch]).numpy()
    compare(f"{what}, written by us", ours(f"{d}/written", batch, vocab), want)
    tokenizer = AutoTokenizer.from_pretrained(f"{d}/written")
    ok(tokenizer("t7 nothing t9")["input_ids"] == [2, 7, 1, 9, 3], f"{what}: its tokenizer puts the marks round a text")


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
            with torch.no_grad():
                typed = torch.cat([model(torch.tensor([ids]), token_type_ids=torch.zeros(1, len(ids), dtype=torch.long)).logits[0]
                                   for ids in batch]).numpy()
            compare(f"{name}, token_type_ids", ours(d, batch, model.config.vocab_size, "token_type_ids"), typed)
            rounded = ours(d, batch, model.config.vocab_size, "int8")
            if rounded is not None:
                print("# int8: best token the same in {:.1%}, mean KL {:.1e}".format(*agreement(rounded, want)))
            written(name, d, batch, model.config.vocab_size)
            os.remove(weights)
            for kind, new in (("zip", True), ("legacy", False)):
                torch.save(model.state_dict(), os.path.join(d, "pytorch_model.bin"), _use_new_zipfile_serialization=new)
                compare(f"{name}, .bin ({kind})", ours(d, batch, model.config.vocab_size), want)
    print(f"1..{count}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
