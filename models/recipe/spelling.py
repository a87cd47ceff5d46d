"""The spelling term: cosine of hashed character n-gram vectors. Exact enough to be written again in C.

Input is a segment's text, alone, without marks. Everything runs over Unicode code points.

1. Normalise with the tokenizer's own normaliser: NFKC, then Lowercase (each code point's full lower-case mapping,
   no context: U+0130 gives two code points, a final sigma is not special).
2. Spaces are the code points with the White_Space property: U+0009..U+000D, U+0020, U+0085, U+00A0, U+1680,
   U+2000..U+200A, U+2028, U+2029, U+202F, U+205F, U+3000. Every run of them becomes one U+0020; runs at either end are
   dropped. If nothing is left, the vector is zero and every cosine with it is 0. Otherwise put one U+0020 before and
   one after: t[0..n), n >= 3.
3. Features, each a byte string, counted:
     - n-grams: for k = 1, 2, 3 and every i with i + k <= n: the UTF-8 of t[i..i+k). Each adds 1. The padding takes
       part, so the 1-gram " " is counted too.
     - words: every maximal run of the code points a-z, 0-9 and ' (U+0027) in t: the byte 0x01 followed by the run.
       Each adds 2.
     - single characters: every code point >= U+0080 in t: the byte 0x01 followed by its UTF-8. Each adds 2.
4. A feature's bucket is its CRC-32 (the one of zlib: polynomial 0xEDB88320 reflected, start and final xor 0xFFFFFFFF)
   modulo 65,536, that is, its low 16 bits. Counts of features that share a bucket are added: c[b].
5. Weights: v[b] = (1 + ln(min(c[b], 255))) * idf[b] for c[b] > 0, idf a float32 table of 65,536 entries in the model
   file (`fsi.spelling.idf`). The vector has unit length: g = v / sqrt(sum v^2).
6. cos(g_m, g_s) = sum over common buckets of g_m[b] g_s[b], in ascending order of b. Never negative.

The cap of 255 lets an engine keep 1 + ln(c) as a table of 255 entries. idf[b] = ln((1 + N) / (1 + df[b])), df[b] the
number of N training texts with a count in bucket b. A lone surrogate cannot occur: text is valid UTF-8.
"""
import math
import random
import zlib

import torch

BUCKETS, MAX_COUNT, GRAMS, WORD = 65_536, 255, 3, b"\x01"
SAMPLE = 60_000  # texts of each language behind the idf
SPACES = set(map(chr, [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
                       0x3000]))
WORD_CHARACTERS = set("abcdefghijklmnopqrstuvwxyz0123456789'")


def collapse(text):
    """Step 2: single spaces inside, one at each end; '' when there is nothing else."""
    words = "".join(" " if c in SPACES else c for c in text).split(" ")
    inner = " ".join(w for w in words if w)
    return f" {inner} " if inner else ""


def features(t):
    """Step 3 on a collapsed text: pairs of (bytes, how much they add)."""
    for k in range(1, GRAMS + 1):
        for i in range(len(t) - k + 1):
            yield t[i: i + k].encode(), 1
    run = ""
    for c in t:
        if c in WORD_CHARACTERS:
            run += c
            continue
        if run:
            yield WORD + run.encode(), 2
            run = ""
        if ord(c) >= 0x80:
            yield WORD + c.encode(), 2


def counts(text, normalise):
    """Steps 1 to 4: bucket -> count."""
    out = {}
    for key, n in features(collapse(normalise(text))):
        b = zlib.crc32(key) & (BUCKETS - 1)
        out[b] = out.get(b, 0) + n
    return out


def learn_idf(short, normalise, seed=0):
    """The idf table from a sample of both languages: float32 (65,536)."""
    rng = random.Random(seed)
    texts = [t for lang in ("en", "zh") for t in rng.sample(short[lang], min(SAMPLE, len(short[lang])))]
    df = [0] * BUCKETS
    for t in texts:
        for b in counts(t, normalise):
            df[b] += 1
    return torch.tensor([math.log((1 + len(texts)) / (1 + d)) for d in df], dtype=torch.float32)


class Spelling:
    """Vectors (kept once computed) and their cosines."""

    def __init__(self, idf, normalise):
        self.idf, self.normalise, self.kept = idf.tolist(), normalise, {}

    def vector(self, text):
        """bucket -> weight, unit length, ascending buckets; {} for a text of spaces."""
        g = self.kept.get(text)
        if g is None:
            v = {b: (1 + math.log(min(c, MAX_COUNT))) * self.idf[b]
                 for b, c in sorted(counts(text, self.normalise).items())}
            norm = math.sqrt(sum(x * x for x in v.values()))
            g = self.kept[text] = {b: x / norm for b, x in v.items()} if norm > 0 else {}
        return g

    def cosine(self, a, b):
        g, h = self.vector(a), self.vector(b)
        return sum(x * h[i] for i, x in g.items() if i in h)
