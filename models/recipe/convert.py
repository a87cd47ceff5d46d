"""Start a pre-layer-norm causal GPT-2 from the post-layer-norm bidirectional teacher.

Both have the same matrices; they differ in where a layer norm stands. Walking through the layers with real sentences:
each of the student's layer norms gets the elementwise gain and bias that, by least squares, turn its own normalised
stream into the teacher's input of that sub-layer; the student's stream is never normalised itself, so the elementwise
scale between it and the teacher's activations is fitted too, and each output projection is divided by it. Q, K, V and
the feed-forward matrices are copied. Token and position rows: the teacher's embedding norm folded in.

Returns the student's weights (without wte) and the teacher's vocabulary as student rows, from which vocab.py makes wte.
"""
import random

import torch
import torch.nn.functional as F

from student import SHAPE, Student

SENTENCES, PIECES = 700, 40


def fit(a, b):
    """Elementwise least squares: gain and bias with gain * a + bias ~ b over rows."""
    ma, mb = a.mean(0), b.mean(0)
    gain = ((a - ma) * (b - mb)).mean(0) / ((a - ma) ** 2).mean(0).clamp_min(1e-6)
    return gain, mb - gain * ma


def set_norm(norm, stream, target, real):
    plain = F.layer_norm(stream, stream.shape[-1:], eps=1e-5)
    gain, bias = fit(plain[real], target[real])
    norm.weight.copy_(gain)
    norm.bias.copy_(bias)
    return norm(stream)


def set_linear(layer, weight, bias, divide=None):
    layer.weight.copy_(weight if divide is None else weight / divide[:, None])
    layer.bias.copy_(bias if divide is None else bias / divide)


def stream_scale(stream, target, real):
    return fit(stream[real], target[real])[0].clamp_min(0.05)


def embedding_rows(teacher):
    """The teacher's vocabulary and positions with its embedding norm folded in: (V, C), (P, C)."""
    w = teacher.w
    words, places = w["embeddings.word_embeddings.weight"], w["embeddings.position_embeddings.weight"]
    gain, bias = w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"]
    centre = places[1:20].mean(0)
    rows = words + w["embeddings.token_type_embeddings.weight"][0] + centre
    spread = rows.std(-1, unbiased=False, keepdim=True)
    return (rows - rows.mean(-1, keepdim=True)) / spread * gain + bias, (places - centre) * gain, spread


@torch.no_grad()
def convert(teacher, texts, report=print):
    """Calibrate on `texts` (English); return (state dict without wte, rows of the teacher's vocabulary)."""
    sample = random.Random(0).sample([t for t in texts if 10 < len(t) < 120], SENTENCES)
    ids, lengths = (torch.from_numpy(a).to(teacher.device) for a in teacher.rows(sample, PIECES))
    real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    t = ids.shape[1]
    student = Student(teacher.w["embeddings.word_embeddings.weight"].shape[0], **SHAPE).to(teacher.device)
    rows, places, spread = embedding_rows(teacher)
    student.wte.weight.copy_(rows)
    student.wpe.weight.copy_(places[: SHAPE["positions"]] / spread[ids[real]].mean())

    x, h = teacher.embed(ids), student.wte(ids) + student.wpe.weight[:t]
    for i, block in enumerate(student.blocks):
        w, p = teacher.w, f"encoder.layer.{i}."
        set_norm(block.ln_1, h, x, real)
        qkv = [p + f"attention.self.{n}" for n in ("query", "key", "value")]
        set_linear(block.c_attn, torch.cat([w[n + ".weight"] for n in qkv]), torch.cat([w[n + ".bias"] for n in qkv]))
        scale = stream_scale(h, x, real)
        out = p + "attention.output.dense"
        set_linear(block.c_proj, w[out + ".weight"], w[out + ".bias"], scale)
        h = h + teacher.attend(block.ln_1(h), i, real) / scale
        x = teacher.after_attention(x + teacher.attend(x, i, real), i)

        set_norm(block.ln_2, h, x, real)
        scale = stream_scale(h, x, real)
        set_linear(block.c_fc, w[p + "intermediate.dense.weight"], w[p + "intermediate.dense.bias"])
        set_linear(block.m_proj, w[p + "output.dense.weight"], w[p + "output.dense.bias"], scale)
        h = h + teacher.feed_forward(block.ln_2(h), i) / scale
        x = teacher.after_feed_forward(x + teacher.feed_forward(x, i), i)
    final = set_norm(student.ln_f, h, x, real)

    def pooled(z):
        m = real[..., None].float()
        return F.normalize((z * m).sum(1) / m.sum(1), dim=-1)

    causal = student(ids, real.sum(1))
    report(f"conversion: cosine to the teacher {(pooled(final) * pooled(x)).sum(-1).mean():.3f} bidirectional, "
           f"{(causal * pooled(x)).sum(-1).mean():.3f} causal")
    state = {k: v for k, v in student.state_dict().items() if k != "wte.weight"}
    return state, rows
