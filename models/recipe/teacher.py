"""The teacher: all-MiniLM-L6-v2, a BERT of 6 layers x 384 (post-layer-norm, bidirectional), as plain tensor code.

`encode` gives its sentence vectors (mean over tokens, unit length). The layer functions are public because the
conversion (convert.py) walks through them.
"""
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

import batches

LAYERS, HEADS, WIDTH, POSITIONS = 6, 12, 384, 512


class Teacher:
    def __init__(self, folder, device="cpu"):
        self.device = device
        self.w = {k.removeprefix("bert."): v.float().to(device) for k, v in
                  load_file(f"{folder}/model.safetensors").items() if v.is_floating_point()}
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, x, name):
        return F.layer_norm(x, (WIDTH,), self.w[name + ".weight"], self.w[name + ".bias"], 1e-12)

    def embed(self, ids):
        """Token, position and segment rows, normalised: the input of layer 0."""
        w = self.w
        return self.norm(w["embeddings.word_embeddings.weight"][ids]
                         + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
                         + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")

    def attend(self, x, layer, mask):
        """Self-attention's output before the residual; mask (B, T) is true on real tokens."""
        b, t, _ = x.shape
        p = f"encoder.layer.{layer}.attention."
        q, k, v = (self.linear(x, p + "self." + n).view(b, t, HEADS, -1).transpose(1, 2)
                   for n in ("query", "key", "value"))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self.linear(a.transpose(1, 2).reshape(b, t, WIDTH), p + "output.dense")

    def feed_forward(self, x, layer):
        p = f"encoder.layer.{layer}."
        return self.linear(F.gelu(self.linear(x, p + "intermediate.dense")), p + "output.dense")

    def after_attention(self, x, layer):
        return self.norm(x, f"encoder.layer.{layer}.attention.output.LayerNorm")

    def after_feed_forward(self, x, layer):
        return self.norm(x, f"encoder.layer.{layer}.output.LayerNorm")

    def rows(self, texts, limit=64):
        """Token ids of the texts, right-padded (B, T), and their lengths (B), as arrays; at most `limit` tokens a text."""
        return batches.padded([e.ids[: limit - 1] + [102] if len(e.ids) > limit else e.ids
                               for e in self.tokenizer.encode_batch(list(texts))], 0)

    @torch.no_grad()
    def vectors(self, ids, lengths):
        """Unit vectors (B, 384) of ids (B, T) of those lengths (B), both on the device."""
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        x = self.embed(ids)
        for layer in range(LAYERS):
            x = self.after_attention(x + self.attend(x, layer, mask), layer)
            x = self.after_feed_forward(x + self.feed_forward(x, layer), layer)
        m = mask[..., None].to(x.dtype)
        return F.normalize((x * m).sum(1) / m.sum(1), dim=-1)

    def encode(self, texts, limit=64):
        """Unit vectors (B, 384) of the texts."""
        return self.vectors(*(torch.from_numpy(a).to(self.device) for a in self.rows(texts, limit)))
