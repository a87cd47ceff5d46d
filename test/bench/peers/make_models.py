"""Files of workload W that the peers read, made once: the prefix's keys and values; for llama.cpp GGUF models and ids.

    make_models.py PEERS [gguf]
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gpt2_random as g2  # noqa: E402

NAMES = {"qkv": "attn_qkv", "out": "attn_output", "up": "ffn_up", "down": "ffn_down", "norm1": "attn_norm",
         "norm2": "ffn_norm"}
KINDS = ("F32", "F16", "Q8_0")


def gguf_tensors(w):
    """(name, array) with matrices as (out, in); what llama.cpp never quantises marked False."""
    yield "token_embd.weight", w["tokens"], True
    yield "position_embd.weight", w["positions"], False
    for i in range(g2.LAYERS):
        for ours, theirs in NAMES.items():
            a = w[f"{i}.{ours}.weight"]
            yield f"blk.{i}.{theirs}.weight", a.T.copy(), a.ndim == 2
            yield f"blk.{i}.{theirs}.bias", w[f"{i}.{ours}.bias"], False
    yield "output_norm.weight", w["norm.weight"], False
    yield "output_norm.bias", w["norm.bias"], False


def write_gguf(path, kind, w):
    import gguf
    out = gguf.GGUFWriter(path + ".new", "gpt2")
    out.add_context_length(g2.POSITIONS)
    out.add_embedding_length(g2.WIDTH)
    out.add_feed_forward_length(4 * g2.WIDTH)
    out.add_block_count(g2.LAYERS)
    out.add_head_count(g2.HEADS)
    out.add_layer_norm_eps(g2.EPSILON)
    out.add_vocab_size(g2.VOCABULARY)
    out.add_tokenizer_model("no_vocab")
    out.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"))
    for name, a, matrix in gguf_tensors(w):
        t = getattr(gguf.GGMLQuantizationType, kind if matrix else "F32")
        out.add_tensor(name, gguf.quants.quantize(a, t), raw_dtype=t)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    os.replace(path + ".new", path)


def main():
    peers = sys.argv[1]
    todo = [k for k in KINDS if "gguf" in sys.argv[2:] and not os.path.exists(f"{peers}/gpt2-{k}.gguf")]
    if todo or not os.path.exists(f"{peers}/gpt2-prefix.npy"):
        w = g2.weights()
        g2.prefix_file(peers, w)
        for kind in todo:
            write_gguf(f"{peers}/gpt2-{kind}.gguf", kind, w)
    prefix, labels, messages = g2.ids()
    with open(f"{peers}/gpt2.ids", "wb") as f:
        for a in (prefix, labels, messages):
            f.write(a.astype("<i4").tobytes())


if __name__ == "__main__":
    main()
