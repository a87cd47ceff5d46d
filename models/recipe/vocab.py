"""The vocabulary: a byte-level BPE of 24,000 over both languages, and a first vector for each of its tokens.

Normaliser NFKC then Lowercase; pre-tokeniser ByteLevel with a prefix space (GPT-2's pattern). Special tokens come
first: `<|bos|>` 0, `<|eos|>` 1, `<|ans|>` 2, `<|pad|>` 3, then reserved ones. Text is always text: a message that
contains the letters `<|bos|>` is encoded as those letters.

A token's first vector: English, the mean of the teacher's pieces; Chinese, the mean of the pieces of its gloss, word by
word where the token itself is no dictionary word; byte fragments, the teacher's mean row.
"""
import os
import random

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from glosses import HAN, words

SIZE, RESERVED = 24_000, 12
SPECIAL = ["<|bos|>", "<|eos|>", "<|ans|>", "<|pad|>"] + [f"<|reserved_{i}|>" for i in range(RESERVED)]
BOS, EOS, ANS, PAD = range(4)
SAMPLE_EN, SAMPLE_ZH = 400_000, 500_000
CLS_PIECE, SEP_PIECE = 101, 102  # the teacher's marks
STOP = set("of the a an to for in on at by with and or is be sb sth one's ; , . 1 2".split())


def byte_level(bpe):
    """A tokenizer round a BPE model."""
    t = Tokenizer(bpe)
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    return t


def train(texts, size=SIZE):
    """Learn the merges from a list of texts."""
    t = byte_level(models.BPE())
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        limit_alphabet=256, max_token_length=24, show_progress=False))
    return t


def sample(corpus, seed=0):
    rng = random.Random(seed)
    short = corpus["short"]
    texts = (rng.sample(short["en"], min(SAMPLE_EN, len(short["en"])))
             + rng.sample(short["zh"], min(SAMPLE_ZH, len(short["zh"]))))
    rng.shuffle(texts)
    return texts


def of(tokens, merges):
    """The tokenizer of a vocabulary (by id; the special tokens first) and of merges, pairs of ids by rank."""
    if tokens[:len(SPECIAL)] != SPECIAL:
        raise SystemExit("another vocabulary than this recipe's: its first tokens are not the special ones")
    t = byte_level(models.BPE({w: i for i, w in enumerate(tokens)}, [(tokens[a], tokens[b]) for a, b in merges]))
    t.add_special_tokens(SPECIAL)
    return t


def save(tokenizer, path):
    tokenizer.save(path + ".new")
    os.replace(path + ".new", path)


def load(work, corpus=None):
    """The work folder's tokenizer, trained from `corpus` when it is not there yet."""
    path = f"{work}/tokenizer.json"
    if not os.path.exists(path):
        save(train(sample(corpus)), path)
    t = Tokenizer.from_file(path)
    t.encode_special_tokens = True  # text is text, also where it spells a special token
    return t


def first_rows(tokenizer, teacher, glosses, rows):
    """wte (V, C) from the teacher's vocabulary `rows` (convert.py)."""
    pieces = teacher.tokenizer.get_vocab()
    base = rows[1000:20000].mean(0)

    def english(text):
        ids = teacher.tokenizer.encode(text, add_special_tokens=False).ids
        return rows[ids].mean(0) if ids else None

    def chinese(word):
        gloss = glosses.word(word)
        if not gloss:
            return None
        return english(" ".join(w for w in gloss.lower().split() if w not in STOP) or gloss)

    def mean_of(words):
        found = [v for v in map(chinese, words) if v is not None]
        return torch.stack(found).mean(0) if found else None

    out = base.repeat(tokenizer.get_vocab_size(), 1)
    out[BOS], out[EOS], out[ANS], out[PAD] = rows[CLS_PIECE], rows[SEP_PIECE], rows[SEP_PIECE], 0
    for i in range(len(SPECIAL), len(out)):
        raw = tokenizer.decode([i])
        text = raw.strip()
        if "\ufffd" in raw or not text:
            continue
        if HAN.search(text):
            v = next((v for v in (chinese(text), mean_of(words(text)), mean_of(text)) if v is not None), base)
        elif not raw.startswith(" ") and "##" + text in pieces:
            v = rows[pieces["##" + text]]
        else:
            v = english(text)
        out[i] = base if v is None else v
    return out
