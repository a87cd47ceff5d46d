"""The losses of both stages. All vectors are unit vectors (B, C)."""
import numpy as np
import torch
import torch.nn.functional as F

import batches

TAU = 0.05  # temperature of in-batch similarities


def cosine(z, y):
    return 1 - (z * y).sum(-1).mean()


def similarity_kl(z, y):
    """KL between in-batch similarity distributions of student and teacher, without the diagonal."""
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    s, t = ((v @ v.T / TAU).masked_fill(own, -1e4) for v in (z, y))
    return F.kl_div(F.log_softmax(s, -1), F.softmax(t, -1), reduction="batchmean")


def contrast(a, b, tau=TAU, without=None):
    """Symmetric in-batch cross-entropy: a[i] belongs to b[i]; pairs (i, j) of `without` say nothing."""
    s = a @ b.T / tau
    if without is not None:
        s = s.masked_fill(without, -1e4)
    y = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(s, y) + F.cross_entropy(s.T, y)) / 2


def follow(z, y):
    """z against the teacher's vectors y: each text's own, and how alike they are among themselves; and the cosine."""
    c = cosine(z, y)
    return c + 0.1 * similarity_kl(z, y), 1 - c.detach()


def recognise(z, y):
    """z against the teacher's vectors y of translations: its own, and none of the others; and the cosine."""
    c = cosine(z, y)
    return c + 0.3 * F.cross_entropy(z @ y.T / TAU, torch.arange(len(y), device=y.device)), 1 - c.detach()


def distil(embed, source, rng, lang):
    """Texts against the teacher's vectors; glossed Chinese is a noisy target and weighs less."""
    texts = batches.neighbours(rng, source.short[lang], source.batch)
    loss, figure = follow(embed(source.typed(rng, texts)), source.targets(texts))
    return (2 if lang == "en" else 1) * loss, figure


def distil_english(embed, source, rng):
    return distil(embed, source, rng, "en")


def distil_chinese(embed, source, rng):
    return distil(embed, source, rng, "zh")


def words(embed, source, rng):
    """Names are short: phrases of one to four words of English texts, and dictionary words, against the teacher's vectors."""
    phrases = source.draw_phrases(rng, source.batch)
    entries = rng.sample(source.glosses.entries, source.batch)
    y = source.english(phrases + [e for e, _ in entries])
    z = embed(phrases + [w for _, w in entries])
    n = len(phrases)
    loss, figure = follow(z[:n], y[:n])
    return 2 * loss + recognise(z[n:], y[n:])[0], figure


def asked(embed, source, rng):
    """Messages and phrases as a question has them: which phrase a message is closest to, as the teacher has it."""
    messages = rng.sample(source.short["en"], source.batch // 2)
    phrases = source.draw_phrases(rng, source.batch // 2)
    z, y = embed(source.typed(rng, messages) + phrases), source.english(messages + phrases)
    n = len(messages)
    c = cosine(z, y)
    s, t = (v[:n] @ v[n:].T / TAU for v in (z, y))
    kl = F.kl_div(F.log_softmax(s, -1), F.softmax(t, -1), reduction="batchmean") \
        + F.kl_div(F.log_softmax(s.T, -1), F.softmax(t.T, -1), reduction="batchmean")
    return 2 * (c + 0.1 * kl), 1 - c.detach()


def named(embed, source, rng, lang="en"):
    """Messages of one of our own sets and its names: which name a message belongs to, half as the set has it and half as the
    teacher does, and all against the teacher's vectors: another name against that of the first, Chinese against that of its
    English side. Names are of both languages."""
    s = source.own_set(rng, lang)
    labels = rng.sample(list(s["labels"]), min(len(s["labels"]), source.contrasted))
    each = max(1, source.batch // len(labels) - 1)
    drawn = [(t, i) for i, label in enumerate(labels) for t in batches.draw(rng, s["labels"][label], each)]
    texts, n = [t for t, _ in drawn], len(drawn)
    y = source.english([source.in_english.get(t, t) for t in texts + labels] if lang == "zh" else texts + labels)
    z = embed(source.typed(rng, texts) + [rng.choice([label] + s["names"].get(label, [])) for label in labels])
    s, t = (v[:n] @ v[n:].T / TAU for v in (z, y))
    gold = batches.onto(np.array([i for _, i in drawn]), embed.device)
    right = F.cross_entropy(s, gold)
    likely = F.kl_div(F.log_softmax(s, -1), F.softmax(t, -1), reduction="batchmean")
    c = cosine(z, y)
    return 2 * c + 0.2 * (right + likely), (s.argmax(-1) == gold).float().mean().detach()


def named_chinese(embed, source, rng):
    return named(embed, source, rng, "zh")


def distil_long(embed, source, rng):
    """Passages of up to 510 tokens: trains the later positions. 8 at a time, so that a step costs as much as others."""
    lang = rng.choice(("en", "zh"))
    texts = batches.neighbours(rng, source.long[lang], max(2, source.batch // 12), 200)
    y = source.targets(texts, 512)
    wide = batches.Embedder(embed.student, embed.tokenizer, embed.device, batches.LONG_TOKENS, half=embed.half)
    z = wide(texts)
    c = cosine(z, y)
    return c * (1.0 if lang == "en" else 0.5), 1 - c.detach()


def parallel(embed, source, rng, own=False):
    """Both sides of translated pairs (`own`: of those that we wrote) against the teacher's vector of the English side."""
    pairs = batches.neighbours(rng, source.written if own else source.parallel, source.batch // 2)
    en, zh = [p[0] for p in pairs], [p[1] for p in pairs]
    y = source.targets(en)
    z_en, z_zh = embed(source.typed(rng, en)), embed(source.typed(rng, zh))
    loss, figure = recognise(z_zh, y)
    return cosine(z_en, y) + loss, figure


def written(embed, source, rng):
    return parallel(embed, source, rng, own=True)


def paraphrases(embed, source, rng):
    pairs = batches.neighbours(rng, source.pairs, source.batch // 2)
    n = len(pairs)
    z = embed(source.typed(rng, [p[0] for p in pairs]) + [p[1] for p in pairs])
    loss = contrast(z[:n], z[n:])
    return 0.3 * loss, loss.detach()


def intents(embed, source, rng):
    """Name and two texts of some intents of a set (or of as many sets as fill a batch): a text belongs to its name and to
    the other text, and not to those of the same set's other intents."""
    texts, belongs, most = [], [], source.contrasted
    for at in range(max(1, source.batch // (3 * most))):
        s = source.intent_set(rng)
        for label in rng.sample(list(s["labels"]), min(most, len(s["labels"]))):
            texts += [rng.choice([label] + s["names"].get(label, []))] + batches.draw(rng, s["labels"][label], 2)
            belongs.append(at)
    z = embed(texts).view(len(belongs), 3, -1)
    belongs = batches.onto(np.array(belongs), embed.device)
    others = belongs[:, None] != belongs
    loss = contrast(z[:, 1], z[:, 0], 0.07, others) + contrast(z[:, 1], z[:, 2], 0.07, others)
    return 0.15 * loss, loss.detach() / 2
