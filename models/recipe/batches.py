"""Batches as a pure function of (seed, phase, step): resuming needs no generator state and repeats nothing.

Lists are sorted by length; a batch of plain texts is drawn from a window of neighbours, so that little is padding.
"""
import random

import torch

import vocab

WINDOW = 4000
SHORT_TOKENS, LONG_TOKENS = 64, 510  # of text; the two marks come on top


def step_rng(seed, phase, step):
    return random.Random(f"{seed}/{phase}/{step}")


def neighbours(rng, items, n, window=WINDOW):
    """n items of about one length from a list sorted by length."""
    window = min(window, len(items))
    start = rng.randint(0, len(items) - window)
    return rng.sample(items[start: start + window], min(n, window))


def draw(rng, texts, n):
    """n different texts; one that is a list of fillings (written.py) counts once."""
    return [t if isinstance(t, str) else rng.choice(t) for t in rng.sample(texts, min(n, len(texts)))]


def encode(tokenizer, texts, limit=SHORT_TOKENS, device="cpu"):
    """Right-padded segments `<|bos|> text <|eos|>`: ids (B, T) and lengths (B)."""
    rows = [[vocab.BOS] + e.ids[:limit] + [vocab.EOS] for e in tokenizer.encode_batch(list(texts))]
    lengths = torch.tensor([len(r) for r in rows])
    ids = torch.full((len(rows), int(lengths.max())), vocab.PAD)
    for i, r in enumerate(rows):
        ids[i, : len(r)] = torch.tensor(r)
    return ids.to(device), lengths.to(device)


class Embedder:
    """Texts to unit vectors with a student, in chunks of similar length; keeps the order of the texts."""

    def __init__(self, student, tokenizer, device="cpu", limit=SHORT_TOKENS, chunk=64):
        self.student, self.tokenizer, self.device, self.limit, self.chunk = student, tokenizer, device, limit, chunk

    def __call__(self, texts):
        if len(texts) <= self.chunk:
            return self.student(*encode(self.tokenizer, texts, self.limit, self.device))
        order = sorted(range(len(texts)), key=lambda i: len(texts[i].encode()))
        parts = [self.student(*encode(self.tokenizer, [texts[j] for j in order[i: i + self.chunk]], self.limit,
                                      self.device)) for i in range(0, len(order), self.chunk)]
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(parts)[back.to(self.device)]


class Source:
    """What the phases draw from: the corpus, the weights of its intent sets, the teacher's targets."""

    def __init__(self, corpus, teacher, glosses, batch=96):
        self.short, self.long = corpus["short"], corpus["long"]
        self.parallel, self.pairs, self.sets = corpus["parallel"], corpus["pairs"], corpus["sets"]
        self.written = corpus.get("written", [])
        self.teacher, self.glosses, self.batch = teacher, glosses, batch
        self.names = {lang: [n for n, s in self.sets.items() if s["lang"] == lang] for lang in ("en", "zh")}
        self.weights = {lang: [self.weight(self.sets[n]) for n in names] for lang, names in self.names.items()}

        self.own = {lang: [n for n in names if n.startswith("written_")] for lang, names in self.names.items()}

    @staticmethod
    def weight(s):
        """Larger and finer sets more often, but far less than in proportion."""
        size = sum(map(len, s["labels"].values()))
        return min(20_000, size) ** 0.5 * (len(s["labels"]) - 1).bit_length()

    chinese = 0.55  # share of Chinese sets among episodes; set by each phase
    own_share = 0.0  # share of sets that we wrote, likewise

    def intent_set(self, rng, chinese=0.5):
        lang = "zh" if rng.random() < chinese else "en"
        if self.own[lang] and rng.random() < self.own_share:
            return self.sets[rng.choice(self.own[lang])]
        return self.sets[rng.choices(self.names[lang], self.weights[lang])[0]]

    def targets(self, texts, limit=64):
        """The teacher's vectors; Chinese texts are glossed first."""
        return self.teacher.encode([self.glosses.translate(t) for t in texts], limit)
