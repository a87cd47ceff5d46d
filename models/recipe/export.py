"""Write a Hugging Face style directory: what the C packer reads, and what any GPT-2 loader can read.

    config.json              GPT-2's keys, plus "fsi": layout, name, readout scalars, spelling constants
    tokenizer.json           as trained; tokenizer_config.json
    model.safetensors        transformer.* as GPT-2 names them (Conv1D matrices are [in, out]), float32, head tied;
                             fsi.readout.q, fsi.readout.k [384, 384] (row vector times matrix), fsi.spelling.idf [65536]
    vectors.json             test vectors (vectors.py)

`read` is the inverse, used by evaluation and by the self-test.
"""
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

import readout
import spelling
from student import SHAPE, Student

CONFIG = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5, "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
    "initializer_range": 0.02, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3,
    "torch_dtype": "float32",
}
PARTS = {"c_attn": "attn.c_attn", "c_proj": "attn.c_proj", "c_fc": "mlp.c_fc", "m_proj": "mlp.c_proj"}
NORMS = ("ln_1", "ln_2")


def config(student, scalars):
    (vocabulary, width), positions, first = student.wte.weight.shape, len(student.wpe.weight), student.blocks[0]
    n = {"n_layer": len(student.blocks), "n_embd": width, "n_head": first.heads, "n_inner": first.c_fc.out_features,
         "n_positions": positions, "n_ctx": positions, "vocab_size": vocabulary}
    return {**CONFIG, **n, "fsi": {
        "layout": "segments", "name": "small" if width == SHAPE["width"] else "base", "readout": scalars,
        "spelling": {"buckets": spelling.BUCKETS, "grams": spelling.GRAMS, "max_count": spelling.MAX_COUNT,
                     "word_prefix": 1, "word_count": 2, "hash": "crc32"}}}


def tensors(student, head, idf):
    out = {"transformer.wte.weight": student.wte.weight, "transformer.wpe.weight": student.wpe.weight,
           "transformer.ln_f.weight": student.ln_f.weight, "transformer.ln_f.bias": student.ln_f.bias}
    for i, block in enumerate(student.blocks):
        for ours, theirs in PARTS.items():
            layer = getattr(block, ours)
            out[f"transformer.h.{i}.{theirs}.weight"] = layer.weight.t()
            out[f"transformer.h.{i}.{theirs}.bias"] = layer.bias
        for name in NORMS:
            out[f"transformer.h.{i}.{name}.weight"] = getattr(block, name).weight
            out[f"transformer.h.{i}.{name}.bias"] = getattr(block, name).bias
    out.update({"fsi.readout.q": head.q, "fsi.readout.k": head.k, "fsi.spelling.idf": idf})
    return {k: v.detach().float().cpu().contiguous().clone() for k, v in out.items()}


def write(folder, student, head, idf, scalars, tokenizer_path):
    """Make or replace the export directory."""
    new = folder.rstrip("/") + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    with open(f"{new}/config.json", "w", encoding="utf8") as f:
        json.dump(config(student, scalars), f, indent=1)
    with open(f"{new}/tokenizer_config.json", "w", encoding="utf8") as f:
        json.dump({"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True, "bos_token": "<|bos|>",
                   "eos_token": "<|eos|>", "pad_token": "<|pad|>", "model_max_length": len(student.wpe.weight)}, f, indent=1)
    shutil.copyfile(tokenizer_path, f"{new}/tokenizer.json")
    save_file(tensors(student, head, idf), f"{new}/model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(new, folder)


def read(folder):
    """(student, head, idf, scalars) of an export directory."""
    with open(f"{folder}/config.json", encoding="utf8") as f:
        c = json.load(f)
    w = load_file(f"{folder}/model.safetensors")
    student, head = Student(c["vocab_size"], c["n_layer"], c["n_embd"], c["n_head"], c["n_inner"], c["n_positions"]), \
        readout.Head(c["n_embd"])
    state = {"wte.weight": w["transformer.wte.weight"], "wpe.weight": w["transformer.wpe.weight"],
             "ln_f.weight": w["transformer.ln_f.weight"], "ln_f.bias": w["transformer.ln_f.bias"]}
    for i in range(c["n_layer"]):
        for ours, theirs in PARTS.items():
            state[f"blocks.{i}.{ours}.weight"] = w[f"transformer.h.{i}.{theirs}.weight"].t()
            state[f"blocks.{i}.{ours}.bias"] = w[f"transformer.h.{i}.{theirs}.bias"]
        for name in NORMS:
            for part in ("weight", "bias"):
                state[f"blocks.{i}.{name}.{part}"] = w[f"transformer.h.{i}.{name}.{part}"]
    student.load_state_dict(state)
    with torch.no_grad():
        head.q.copy_(w["fsi.readout.q"])
        head.k.copy_(w["fsi.readout.k"])
    return student, head, w["fsi.spelling.idf"], {**readout.DEFAULTS, **c["fsi"]["readout"]}
