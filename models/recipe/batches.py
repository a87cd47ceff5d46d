"""Batches as a pure function of (seed, phase, step): resuming needs no generator state and repeats nothing.

Lists are sorted by length; a batch of plain texts is drawn from a window of neighbours, so that little is padding.
"""
import itertools
import random

import numpy as np
import torch

import vocab
from typos import Typos

WINDOW = 4000
SHORT_TOKENS, LONG_TOKENS = 64, 510  # of text; the two marks come on top


def step_rng(seed, phase, step):
    return random.Random(f"{seed}/{phase}/{step}")


def neighbours(rng, items, n, window=WINDOW):
    """n items of about one length from a list sorted by length."""
    window = min(max(window, 8 * n), len(items))
    start = rng.randint(0, len(items) - window)
    return rng.sample(items[start: start + window], min(n, window))


def draw(rng, texts, n):
    """n different texts; one that is a list of fillings (written.py) counts once."""
    return [t if isinstance(t, str) else rng.choice(t) for t in rng.sample(texts, min(n, len(texts)))]


def padded(rows, fill):
    """Lists of ids as one array (B, T), right-padded with `fill`, and their lengths (B)."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    ids = np.full((len(rows), int(lengths.max())), fill)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.fromiter(itertools.chain.from_iterable(rows), np.int64)
    return ids, lengths


def segments(tokenizer, texts, limit=SHORT_TOKENS):
    """Right-padded segments `<|bos|> text <|eos|>` as arrays: ids (B, T) and lengths (B)."""
    return padded([[vocab.BOS] + e.ids[:limit] + [vocab.EOS] for e in tokenizer.encode_batch(list(texts))], vocab.PAD)


def encode(tokenizer, texts, limit=SHORT_TOKENS, device="cpu"):
    """The same as tensors of a device."""
    return tuple(torch.from_numpy(a).to(device) for a in segments(tokenizer, texts, limit))


def onto(array, device):
    """A numpy array as a tensor of the device, without waiting for what the device has in hand."""
    t = torch.from_numpy(np.ascontiguousarray(array))
    return t if str(device) == "cpu" else t.pin_memory().to(device, non_blocking=True)


class Embedder:
    """Texts to unit vectors with a student, in chunks of similar length; keeps the order of the texts.

    With a `bank` (bank.py) whose texts are asked for, nothing is tokenised; `half` computes in bfloat16.
    """

    def __init__(self, student, tokenizer, device="cpu", limit=SHORT_TOKENS, chunk=64, bank=None, half=False):
        self.student, self.tokenizer, self.device, self.limit, self.chunk = student, tokenizer, device, limit, chunk
        self.bank, self.half = bank, half

    def __call__(self, texts):
        rows = self.bank and self.bank.rows(texts)
        sizes = [len(t.encode()) for t in texts] if rows is None else self.bank.lengths[rows]
        order = np.argsort(sizes, kind="stable")
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            parts = [self.student(*(encode(self.tokenizer, [texts[j] for j in some], self.limit, self.device)
                                    if rows is None else self.bank.segments(rows[some])))
                     for some in np.split(order, range(self.chunk, len(order), self.chunk))]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return torch.cat(parts)[onto(back, self.device)]


class Source:
    """What the phases draw from: the corpus, the weights of its intent sets, the teacher's targets."""

    bank, phrases = None, ()  # set by bank.py
    width = None  # of the student's vectors; None is the teacher's

    def __init__(self, corpus, teacher, glosses, batch=96):
        self.short, self.long = corpus["short"], corpus["long"]
        self.parallel, self.pairs, self.sets = corpus["parallel"], corpus["pairs"], corpus["sets"]
        self.written = corpus.get("written", [])
        self.in_english = {zh: en for en, zh in self.written}
        self.teacher, self.glosses, self.batch = teacher, glosses, batch
        self.names = {lang: [n for n, s in self.sets.items() if s["lang"] == lang] for lang in ("en", "zh")}
        self.weights = {lang: [self.weight(self.sets[n]) for n in names] for lang, names in self.names.items()}

        self.typos = Typos(glosses.sounds, self.short["zh"])
        self.own = {lang: [n for n in names if n.startswith("written_")] for lang, names in self.names.items()}

    @staticmethod
    def weight(s):
        """Larger and finer sets more often, but far less than in proportion."""
        size = sum(map(len, s["labels"].values()))
        return min(20_000, size) ** 0.5 * (len(s["labels"]) - 1).bit_length()

    chinese = 0.55  # share of Chinese sets among episodes; set by each phase
    own_share = 0.0  # share of sets that we wrote, likewise
    favoured = {}  # sets by language, every second of those that we wrote is one of, likewise
    ways = (16,)  # the most candidates of an episode is one of these, likewise
    shots = (0, 0, 0, 1, 1, 2, 3)  # examples of a candidate: one of these for all of an episode, likewise
    queries = 6  # the most messages of an episode, likewise
    discriminant = 0.0  # the discriminant's share in an episode's logits, likewise
    mistyped = 0.0  # share of messages that are misspelt, likewise
    misspelt = {}  # set by bank.py
    contrasted = 24  # intents of a set that are contrasted, likewise

    def favour(self, files):
        """Draw every second of our own sets from the files whose names begin so (several by +); None: all alike."""
        begin = tuple(f"written_{f}" for f in files.split("+")) if files else ()
        self.favoured = {lang: [n for n in own if n.startswith(begin)] if begin else [] for lang, own in self.own.items()}
        if files and not all(any(n.startswith(b) for own in self.own.values() for n in own) for b in begin):
            raise SystemExit(f"favour={files}: no file in written/ begins so")

    def own_set(self, rng, lang):
        """A set that we wrote."""
        favoured = self.favoured.get(lang)
        return self.sets[rng.choice(favoured if favoured and rng.random() < 0.5 else self.own[lang])]

    def typed(self, rng, texts):
        """The texts as people type them: a share of them misspelt. With a bank, as it has them."""
        if not self.mistyped:
            return list(texts)
        spoil = (lambda t: self.misspelt.get(t, t)) if self.bank else (lambda t: self.typos(rng, t))
        return [spoil(t) if rng.random() < self.mistyped else t for t in texts]

    def intent_set(self, rng, chinese=0.5):
        lang = "zh" if rng.random() < chinese else "en"
        if self.own[lang] and rng.random() < self.own_share:
            return self.own_set(rng, lang)
        return self.sets[rng.choices(self.names[lang], self.weights[lang])[0]]

    def phrase(self, rng, text):
        """One to four neighbouring words of an English text."""
        said = [w.strip(".,;:!?()\"") for w in text.split()]
        n = rng.randint(1, 4)
        at = rng.randint(0, max(0, len(said) - n))
        return " ".join(said[at: at + n]).strip() or text

    def draw_phrases(self, rng, n):
        if self.phrases:
            return rng.sample(self.phrases, n)
        return [self.phrase(rng, t) for t in rng.sample(self.short["en"], n)]

    def targets(self, texts, limit=64):
        """The teacher's vectors; Chinese texts are glossed first."""
        found = self.bank and self.bank.targets(texts)
        return self.wide(self.teacher.encode([self.glosses.translate(t) for t in texts], limit) if found is None else found)

    def english(self, texts):
        """The same for texts that are English as they stand."""
        found = self.bank and self.bank.targets(texts)
        return self.wide(self.teacher.encode(texts) if found is None else found)

    def wide(self, y):
        """At the student's width, where that is a multiple of the teacher's: as often as it fits, at unit length (grow.py)."""
        copies = (self.width or y.shape[1]) // y.shape[1]
        return y if copies == 1 else y.repeat(1, copies) / copies ** 0.5
