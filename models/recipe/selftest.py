#!/usr/bin/env python3
"""Prove the recipe's promises on a toy size, without network or data, in well under two minutes of CPU.

Resuming is exact (six steps in one go equal three, a stop, and three more, across a change of phase); an export read
back is equal and means what GPT-2 means; spelling is as its docstring says; the readout does not depend on order.
"""
import hashlib
import json
import math
import os
import random
import signal
import tempfile
import zlib

import numpy as np
import torch
from safetensors.torch import load_file

import bank
import batches
import checkpoint
import episodes
import export
import grow
import losses
import pack_for_gpu
import quant
import readout
import restore
import spelling
import texts
import train
import vectors
import vocab
import written
from student import SHAPE, Student
from table import Table
from typos import Typos

SHAPE.update(layers=2, width=48, heads=4, inner=96)
PLAN = [{"name": "a", "kind": "distil", "steps": 4, "rate": 1e-3},
        {"name": "b", "kind": "episodes", "steps": 2, "rate": 1e-3, "rounding": True},
        {"name": "c", "kind": "episodes", "steps": 1, "rate": 0.0, "mean": "a"},
        {"name": "d", "kind": "names", "steps": 3, "rate": 1e-3, "from": "a"},
        {"name": "e", "kind": "names", "steps": 1, "rate": 0.0, "mean": "a+b"},
        {"name": "f", "kind": "english", "steps": 1, "rate": 0.0, "from": "b"}]


def toy_corpus():
    """A few hundred sentences made of a few words, in both languages."""
    rng = random.Random(0)
    en = "please show me the way to reset my card and pin or pay a bill for my new phone today".split()
    zh = "请 帮 我 查 一下 信用卡 账单 密码 重置 手机 今天 怎么 退款 发票 物流".split()
    say = lambda words, gap: gap.join(rng.sample(words, rng.randint(3, 8)))
    short = {"en": sorted({say(en, " ") for _ in range(300)}, key=len),
             "zh": sorted({say(zh, "") for _ in range(300)}, key=len)}
    long = {lang: [" ".join(rng.sample(t, 20)) for _ in range(30)] for lang, t in short.items()}
    labels = lambda lang: {"labels": {f"label {i}": rng.sample(short[lang], 6) for i in range(8)}, "lang": lang,
                           "names": {"label 1": ["first label", "标签"]}, "descriptions": {"label 2": ["the second"]}}
    return {"short": short, "long": long, "sets": {"toy_en": labels("en"), "toy_zh": labels("zh")},
            "parallel": [[e, z] for e, z in zip(short["en"], short["zh"])],
            "pairs": [[a, b] for a, b in zip(short["zh"], short["zh"][1:])]}


class ToyTeacher:
    """Vectors from a hash of the text."""

    def rows(self, texts, limit=64):
        return batches.padded([list(hashlib.sha256(t.encode()).digest())[: 20 + len(t) % 12] for t in texts], 0)

    def vectors(self, ids, lengths):
        return torch.nn.functional.normalize(torch.nn.functional.pad(ids.float(), (0, 48 - ids.shape[1])) - 64, dim=-1)

    def encode(self, texts, limit=64):
        return self.vectors(*map(torch.from_numpy, self.rows(texts)))


class ToyGlosses:
    def translate(self, text):
        return text

    entries = [["pay", "付"], ["bill", "账单"]] * 20
    sounds = {"账": ["zhang"], "帐": ["zhang"], "单": ["dan"], "付": ["fu"]}


def check(what, truth):
    print(("ok    " if truth else "FAIL  ") + what, flush=True)
    if not truth:
        raise SystemExit(1)


def trainer(work, corpus, tokenizer, steps=None, plan=PLAN, minutes=None):
    torch.manual_seed(0)
    start = lambda: Student(tokenizer.get_vocab_size(), **SHAPE).state_dict()
    return train.Trainer(work, tokenizer, batches.Source(corpus, ToyTeacher(), ToyGlosses(), 24), start, plan,
                         max_steps=steps, max_minutes=minutes)


def resume_is_exact(tmp, corpus, tokenizer):
    for name, runs in (("once", (None,)), ("twice", (3, None)), ("often", (1, 2, 1, 1, 1, 2, None))):
        os.makedirs(f"{tmp}/{name}")
        for steps in runs:
            trainer(f"{tmp}/{name}", corpus, tokenizer, steps).run()
    got = [checkpoint.load(f"{tmp}/{n}/checkpoint.pt") for n in ("once", "twice", "often")]
    start = trainer(f"{tmp}/new", corpus, tokenizer).student.state_dict() if os.makedirs(f"{tmp}/new") is None else 0
    for part in ("student", "head"):
        for other in got[1:]:
            check(f"{part} after a stop and a resume equals one run",
                  all(torch.equal(v, other[part][k]) for k, v in got[0][part].items()))
    ends = [checkpoint.load(f"{tmp}/once/end-{n}.pt")["student"] for n in "abcdef"]
    check("a phase may start from the mean of two ends",
          all(torch.allclose((a + b) / 2, c, atol=1e-6) for a, b, c in zip(*(e.values() for e in ends[:3]))))
    check("... of several", all(torch.allclose((a + b + d) / 3, e, atol=1e-6)
                                for a, b, _, d, e, _ in zip(*(e.values() for e in ends))))
    check("a phase may start from the end of another",
          all(torch.equal(b, f) for _, b, _, _, _, f in zip(*(e.values() for e in ends))))
    check("training moved the weights",
          not torch.equal(got[0]["student"]["wte.weight"], start["wte.weight"])
          and not torch.equal(got[0]["head"]["q"], torch.eye(48)))


def minutes_are_kept(tmp, corpus, tokenizer):
    os.makedirs(work := f"{tmp}/minutes")
    phase = {"name": "a", "kind": "distil", "minutes": 0.03, "rate": 1e-3}
    once = trainer(work, corpus, tokenizer, minutes=0.01, plan=[dict(phase)])
    check("a phase told in minutes stops and goes on", not once.run() and 0 < once.minutes < 0.03)
    again = trainer(work, corpus, tokenizer, plan=[dict(phase)])
    check("... to its end", again.minutes == once.minutes and again.run())
    done, = train.load_plan(work)
    check("... and says how many steps it took", done["steps"] > once.step and done["batch"] == 24
          and done["sentences"] == {lang: len(t) for lang, t in corpus["short"].items()})
    check("its rate falls with time", math.isclose(train.rate(phase, 200, 0.015), 5e-4) and train.rate(phase, 0, 0.0) == 0)


def favoured_sets_are_drawn(tmp, corpus):
    written_sets = {f"written_{n}_en": {"lang": "en", "labels": {"a": ["x"], "b": ["y"]}} for n in ("tech_a", "tech_b", "c", "d")}
    source = batches.Source({**corpus, "sets": {**corpus["sets"], **written_sets}}, ToyTeacher(), ToyGlosses(), 24)
    source.own_share, rng = 1.0, random.Random(0)
    drawn = lambda: sum(any(s is source.sets[f"written_tech_{x}_en"] for x in "ab")
                        for s in (source.intent_set(rng, 0.0) for _ in range(400)))
    source.favour("tech")
    some = drawn()
    source.favour("tech_a+d")
    check("favour= takes several beginnings", {id(source.sets[f"written_{n}_en"]) for n in ("tech_a", "d")} ==
          {id(source.sets[n]) for n in source.favoured["en"]})
    source.favour(None)
    check("favour= draws every second own set from its files", 270 < some < 330 and 170 < drawn() < 230)
    try:
        source.favour("nowhere")
        check("... and refuses files that are not there", False)
    except SystemExit as e:
        check("... and refuses files that are not there", "nowhere" in str(e))
    os.makedirs(work := f"{tmp}/favour")
    plan = train.load_plan(work, ["z:names:5:1e-4:favour=tech"])
    check("... which the plan keeps", plan[-1]["favour"] == "tech" and train.load_plan(work)[-1] == plan[-1])


def held_back_within_is_dropped():
    corpus = {"valid": {"v": {"lang": "zh", "train": {"a": ["帮我查一下明天的天气"]}, "test": {"a": ["谢谢"]}}},
              "short": {"en": ["where is my parcel now? thanks", "thanks"], "zh": ["帮我查一下明天的天气", "谢谢"]},
              "long": {"zh": ["你好 帮我查一下明天的天气 好的", "谢谢 再见"], "en": ["Hello. Where is my parcel now? Thanks."]}}
    texts.without_pieces(corpus, {texts.identity("where is my parcel now?")})
    check("what has a held back sentence within is dropped, courtesies are not", corpus["short"] == {"en": ["thanks"], "zh": ["谢谢"]}
          and corpus["long"] == {"zh": ["谢谢 再见"], "en": []})


def signals_are_given_back(tmp, corpus, tokenizer):
    os.makedirs(work := f"{tmp}/signals")
    before = signal.getsignal(signal.SIGTERM)
    trainer(work, corpus, tokenizer, 1).run()
    check("after training signals do what they did", signal.getsignal(signal.SIGTERM) is before)


def messages_find_their_names(corpus):
    """`named` with vectors that tell labels apart (two may share a text): nearly all are right; with one vector for all: hardly any."""
    source = batches.Source(corpus, ToyTeacher(), ToyGlosses(), 24)
    source.own["en"] = ["toy_en"]
    s = source.sets["toy_en"]
    label_of = {t: label for label, texts in s["labels"].items() for t in bank.every(texts) + [label] + s["names"].get(label, [])}
    apart = dict(zip(s["labels"], torch.eye(48)))
    vectors = lambda of: type("Embed", (), {"device": "cpu", "__call__": lambda self, texts: torch.stack([of(t) for t in texts])})()
    _, right = losses.named(vectors(lambda t: apart[label_of[t]]), source, random.Random(1))
    source.own["zh"], source.in_english, asked = ["toy_zh"], {"label 3": "the third"}, []
    source.english = lambda texts, english=source.english: asked.extend(texts) or english(texts)
    losses.named_chinese(vectors(lambda t: torch.eye(48)[0]), source, random.Random(1))
    check("a Chinese set's messages and names are compared with their English sides'", "the third" in asked and "label 3" not in asked
          and set(asked) & set(bank.every(source.sets["toy_zh"]["labels"]["label 3"])) != set())
    del source.english
    _, chance = losses.named(vectors(lambda t: torch.eye(48)[0]), source, random.Random(1))
    check("messages of a set find their names", right > 0.8 and chance < 0.6)


def mistakes_are_peoples():
    rng = random.Random(2)
    typos = Typos(ToyGlosses.sounds, ["账单帐付"] * 30 + ["单"])
    got = [typos(rng, "a longer message here") for _ in range(400)]
    plain = [t for t in got if not t.startswith("a longer message here")]
    check("a mistake changes a letter, or two places", all(abs(len(t) - 21) < 2 for t in plain) and len(set(plain)) > 40
          and 300 < len(plain) < 400)
    check("... deterministically", got == [typos(r, "a longer message here") for r in [random.Random(2)] for _ in range(400)])
    check("a character becomes one of the same sound that is common", typos.alike == {"账": ["帐"], "帐": ["账"], "单": [], "付": []}
          and any("帐" in typos(rng, "账单账单") for _ in range(40)))
    check("a short text keeps its letters", all(typos(rng, "ok").startswith("ok") for _ in range(40)))
    source = batches.Source(toy_corpus(), ToyTeacher(), ToyGlosses(), 24)
    texts = source.short["en"][:50]
    state = rng.getstate()
    check("phases of old draw as they did", source.typed(rng, texts) == texts and rng.getstate() == state)
    source.mistyped = 0.3
    spoilt = sum(a != b for a, b in zip(source.typed(rng, texts * 8), texts * 8))
    check("a share of messages is misspelt", 80 < spoilt < 150)


def means_are_even():
    states = [{"student": {"a": torch.tensor([x])}, "head": {"b": torch.tensor([2 * x])}} for x in (1.0, 2.0, 6.0)]
    got = checkpoint.mean(states)
    check("a mean of three counts each alike", torch.allclose(got["student"]["a"], torch.tensor([3.0]))
          and torch.allclose(got["head"]["b"], torch.tensor([6.0])) and states[0]["student"]["a"] == 1)


def bank_is_the_same(corpus, tokenizer):
    """Batches from a bank, and those of the ordinary way."""
    source, student = batches.Source(corpus, ToyTeacher(), ToyGlosses(), 24), Student(tokenizer.get_vocab_size(), **SHAPE)
    source.written = source.parallel
    made = bank.Bank(tokenizer, source, workers=2)
    plain, banked = batches.Embedder(student, tokenizer), batches.Embedder(student, tokenizer, chunk=32, bank=made)
    texts = corpus["short"]["en"][::3] + corpus["short"]["zh"][::7] + source.phrases[:9] + ["label_1", "标签", "the second"]
    check("a bank's vectors are those of its texts", torch.allclose(plain(texts), banked(texts), atol=1e-5))
    check("... and the teacher's its own", torch.allclose(source.targets(texts[:-3]), ToyTeacher().encode(texts[:-3]), atol=1e-3))
    check("a text it lacks takes the ordinary way", made.rows(["not there"]) is None and made.targets(["标签"]) is None
          and torch.allclose(plain(["not there"]), banked(["not there"])))
    rng, head = random.Random(3), readout.Head(48)
    source.own["en"], source.own["zh"] = ["toy_en"], ["toy_zh"]
    source.mistyped = 0.5
    check("... and texts as they are mistyped", {made.rows([t]) is not None for t in source.typed(random.Random(1), texts)} == {True}
          and source.typed(random.Random(1), texts[:40]) != texts[:40])
    for kind in ("large", "names", "jargon", "broad", "bilingual"):
        for _ in range(12):
            loss, _, figure = train.step_loss(kind, banked, head, source, rng)
            check(f"a step of kind {kind} is finite", bool(torch.isfinite(loss)) and bool(torch.isfinite(torch.as_tensor(figure))))


@torch.no_grad()
def batches_are_their_parts(corpus, tokenizer):
    """Whole batches of episodes and of contrasted sets, and the same one at a time."""
    source, student = batches.Source(corpus, ToyTeacher(), ToyGlosses(), 24 * 3 * 4), Student(tokenizer.get_vocab_size(), **SHAPE)
    embed, head, n = batches.Embedder(student, tokenizer), readout.Head(48), 80
    source.chinese, losses_, right, asked, gone = 0.5, [], 0, 0, 0
    rng = random.Random(5)
    for segments, queries, ways in [episodes.draw(rng, source) for _ in range(n)]:
        owner, kind = (torch.tensor([s[k] for s in segments]) for k in (1, 2))
        logits = head.logits(embed([t for t, _ in queries]), embed([s[0] for s in segments]), owner, kind, ways)
        gold = torch.tensor([i if (owner == i).any() else ways for _, i in queries])
        losses_.append(torch.nn.functional.cross_entropy(logits, gold))
        right, asked, gone = right + int((logits.argmax(-1) == gold).sum()), asked + len(gold), gone + int((gold == ways).sum())
    loss, share = episodes.loss(embed, head, source, random.Random(5), n)
    check("a batch of episodes is its episodes", gone > 0 and torch.allclose(loss, sum(losses_) / n, atol=1e-4)
          and math.isclose(float(share), right / asked, rel_tol=1e-5))
    said = []
    loss, _ = losses.intents(Recorder(embed, said), source, random.Random(6))
    z = embed(said[0]).view(-1, 3, 48)
    per_set = len(corpus["sets"]["toy_en"]["labels"])
    parts = [losses.contrast(v[:, 1], v[:, k], 0.07) for v in z.split(per_set) for k in (0, 2)]
    check("a batch of contrasted sets is its sets", len(parts) > 4 and torch.allclose(loss, 0.15 * 2 * sum(parts) / len(parts), atol=1e-4))


class Recorder:
    """An embedder that keeps what it is asked."""

    def __init__(self, embed, said):
        self.embed, self.said, self.device = embed, said, embed.device

    def __call__(self, texts):
        self.said.append(texts)
        return self.embed(texts)


@torch.no_grad()
def growing_changes_nothing(tokenizer):
    student, head, g = Student(tokenizer.get_vocab_size(), **SHAPE), readout.Head(48), torch.Generator().manual_seed(0)
    for p in list(student.parameters()) + list(head.parameters()):
        p.add_(torch.randn(p.shape, generator=g) * 0.05)
    wide, wide_head = Student.of(grow.doubled(student.state_dict(), g)), readout.Head.of(grow.doubled_head(head.state_dict(), g))
    texts = ["reset my card", "我的密码", "", "pay a bill for the new phone"]
    a, b = (batches.Embedder(s, tokenizer)(texts) for s in (student, wide))
    check("twice the width computes the same", b.shape[1] == 96 and torch.allclose(torch.cat([a, a], 1) / 2 ** 0.5, b, atol=1e-5)
          and torch.allclose(head.meaning(a, a), wide_head.meaning(b, b), atol=1e-5))
    halves = wide.blocks[0].c_proj.weight.chunk(2, 1)
    check("... with copies that differ", not torch.allclose(*halves, atol=1e-3))
    back = pack_for_gpu.whole(pack_for_gpu.small(student.state_dict()))
    check("what comes back from a GPU is what the engine has", all(
        torch.allclose(v, quant.rounded(student.state_dict()[k]) if k.startswith("blocks") and v.dim() == 2 or k == "wte.weight"
                       else student.state_dict()[k], rtol=1e-3, atol=1e-5) for k, v in back.items()))


def plain_gpt2(w, ids, heads):
    """ln_f(h) from exported tensors, by the textbook: Conv1D is x @ weight + bias."""
    norm = lambda x, p: torch.nn.functional.layer_norm(x, x.shape[-1:], w[p + ".weight"], w[p + ".bias"], 1e-5)
    conv = lambda x, p: x @ w[p + ".weight"] + w[p + ".bias"]
    h = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: len(ids)]
    for i in range(SHAPE["layers"]):
        p = f"transformer.h.{i}."
        q, k, v = (x.view(len(ids), heads, -1).transpose(0, 1)
                   for x in conv(norm(h, p + "ln_1"), p + "attn.c_attn").chunk(3, -1))
        s = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        s = s.masked_fill(torch.ones(len(ids), len(ids)).triu(1).bool(), -math.inf).softmax(-1)
        h = h + conv((s @ v).transpose(0, 1).reshape(len(ids), -1), p + "attn.c_proj")
        x = conv(norm(h, p + "ln_2"), p + "mlp.c_fc")
        x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
        h = h + conv(x, p + "mlp.c_proj")
    return norm(h, "transformer.ln_f")


@torch.no_grad()
def export_reads_back(tmp, tokenizer, spell, idf):
    student, head = Student(tokenizer.get_vocab_size(), **SHAPE), readout.Head(48)
    head.q.normal_()
    tokenizer.save(f"{tmp}/tokenizer.json")
    export.write(f"{tmp}/export", student, head, idf, readout.DEFAULTS, f"{tmp}/tokenizer.json")
    back, back_head, back_idf, scalars = export.read(f"{tmp}/export")
    check("an export read back is equal", all(torch.equal(v, back.state_dict()[k])
                                              for k, v in student.state_dict().items())
          and torch.equal(head.q, back_head.q) and torch.equal(idf, back_idf) and scalars == readout.DEFAULTS)
    ids, lengths = batches.encode(tokenizer, ["please pay my bill", "请帮我查一下账单"])
    z = student(ids, lengths)
    w = load_file(f"{tmp}/export/model.safetensors")
    for i in range(2):
        h = plain_gpt2(w, ids[i, : lengths[i]], SHAPE["heads"]).mean(0)
        check("exported tensors are a GPT-2 (padding does not matter)",
              torch.allclose(torch.nn.functional.normalize(h, dim=0), z[i], atol=1e-5))
    vectors.write(f"{tmp}/v1.json", student, head, spell, scalars, tokenizer)
    vectors.write(f"{tmp}/v2.json", back, back_head, spell, scalars, tokenizer)
    one, two = (open(f"{tmp}/{n}.json", "rb").read() for n in ("v1", "v2"))
    check("test vectors are reproducible", one == two)
    first = json.loads(one)["texts"][0]
    check("an empty text is its two marks, and spells nothing", first["ids"] == [0, 1] and first["spelling"] == [])


def spelling_is_exact(tokenizer, spell):
    check("CRC-32 is zlib's", zlib.crc32(b"123456789") == 0xCBF43926)
    normalise = tokenizer.normalizer.normalize_str
    bucket = lambda key: zlib.crc32(key) & 65535
    want = {}
    for key, n in ((b" ", 2), (b"a", 1), ("é".encode(), 1), (b" a", 1), ("aé".encode(), 1), ("é ".encode(), 1),
                   (" aé".encode(), 1), ("aé ".encode(), 1), (b"\x01a", 2), ("\x01é".encode(), 2)):
        want[bucket(key)] = want.get(bucket(key), 0) + n
    check("counts of 'AÉ' by hand", spelling.counts("\u3000AÉ\t", normalise) == want)
    check("spaces collapse", spelling.collapse("\u2003a\u00a0 \n b ") == " a b " and spelling.collapse(" \t") == "")
    check("word features", [k for k, n in spelling.features(" don't 你 x1 ") if n == 2]
          == [b"\x01don't", "\x01你".encode(), b"\x01x1"])
    g = spell.vector("please pay my bill")
    check("unit length, ascending buckets", abs(sum(x * x for x in g.values()) - 1) < 1e-12
          and list(g) == sorted(g) and abs(spell.cosine("Pay  my bill", "pay my BILL") - 1) < 1e-12)


@torch.no_grad()
def readout_is_consistent(tokenizer, spell):
    student, head = Student(tokenizer.get_vocab_size(), **SHAPE), readout.Head(48)
    c = {**readout.DEFAULTS, "example_sharpness": 3.0, "name_share": 0.4, "name_bias": -1.0,
         "discriminant_share": 0.7}
    asked = [{"text": e["text"], "candidates": e["candidates"], "gold": 0} for e in vectors.EPISODES]
    logits = Table(asked, student, head, tokenizer, spell).logits(c)
    embed = batches.Embedder(student, tokenizer)
    for e, row in zip(vectors.EPISODES, logits):
        mine = vectors.episode_scores({**e, "other": True}, embed, head, spell, c)[1]
        check("table and plain formula agree", all(abs(a - b) < 1e-4 for a, b in zip(mine[:-1], row)))
    sims, kinds = [0.3, 0.1, -0.2, 0.7, 0.45], [0, 1, 2, 2, 2]
    order = [0, 4, 1, 3, 2]
    check("order of examples changes no bit",
          readout.mix(sims, kinds, c) == readout.mix([sims[i] for i in order], [kinds[i] for i in order], c))
    g, owner = np.random.default_rng(0), np.array([0, 0, 1, 2, 2, 2])
    p = g.normal(size=(6, 8))
    weight, is_c = np.diag(1 / np.array([2, 2, 1, 3, 3, 3])), np.eye(3)[owner] - 1 / 3
    ridge_regression = np.linalg.solve(p.T @ weight @ p + 0.1 * np.eye(8), p.T @ weight @ is_c).T
    small = readout.directions(p, owner, 3, 0.1)
    twice = readout.directions(np.repeat(p, 2, 0), np.repeat(owner, 2), 3, 0.1)
    check("directions are weighted ridge regression, by either matrix",
          np.allclose(small, ridge_regression, atol=1e-9) and np.allclose(twice, ridge_regression, atol=1e-9))
    padded = torch.cat([torch.from_numpy(p), torch.full((2, 8), 9.0)]), torch.tensor([0, 0, 1, 2, 2, 2, -1, -1])
    several = readout.apart(*(torch.stack([t, t]) for t in padded), 4, 0.1).numpy()
    check("training's directions are the same, of several questions, beside candidates without segments",
          np.allclose(several[:, :3], small, atol=1e-4) and not several[:, 3].any())
    zm, zs = embed(["a", "b"]), embed(["x", "y", "z", "w"])
    owner, kind = torch.tensor([0, 0, 1, 2]), torch.tensor([readout.NAME, readout.EXAMPLE, readout.EXAMPLE,
                                                            readout.NAME])
    trained = head.logits(zm, zs, owner, kind, 3)[0, :3].tolist()
    s = head.meaning(zm, zs)[0].tolist()
    plain = [readout.mix(s[:2], [0, 2], readout.DEFAULTS), readout.mix(s[2:3], [2], readout.DEFAULTS),
             readout.mix(s[3:], [0], readout.DEFAULTS)]
    check("training's logits are the formula's", all(abs(a - b) < 1e-3 for a, b in zip(trained, plain)))
    told = head.logits(zm, zs, owner, kind, 3, 0.7)[0, :3].tolist()
    towards = readout.directions(torch.nn.functional.normalize(zs @ head.k, dim=-1), owner, 3, 0.1)
    f = towards @ torch.nn.functional.normalize(zm @ head.q, dim=-1)[0].numpy()
    check("with the discriminant too", all(abs(a - b - 16 * 0.7 * x) < 1e-3 for a, b, x in zip(told, plain, f)))


def rounding_is_int8():
    x = torch.tensor([[127.0, 0.5, 1.5, -2.5], [0.0, 0.0, 0.0, 0.0]])
    check("round half to even, per row", quant.rounded(x).tolist() == [[127.0, 0.0, 2.0, -2.0], [0.0] * 4])
    x = torch.tensor([[250.0, 0.5, 1.5, -2.0], [504.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    check("activations by their own range, 0 in it",
          quant.activations(x).tolist() == [[250.0, 0.0, 2.0, -2.0], [504.0, 4.0, 2.0, 0.0], [0.0] * 4])


WRITTEN = """# toy
domain 药店 ; 用药 | pharmacy ; medicines

slot drug
布洛芬 | ibuprofen
感冒药 | cold medicine

intent 剂量 ; 怎么吃 | dosage
describe 问怎么吃 | asks how to take it
{drug}怎么吃 | how do I take {drug}
一天几次 | how often a day

intent 价格 | price
多少钱 | how much is it
{drug}贵吗 | is {drug} dear

intent 退货 | return
能退吗 | can I return it
想退{drug} | I want to return {drug}
"""


def shipped_vocabulary_reads_back(tmp):
    """A work folder begun from the shipped file has its vocabulary, whatever texts there are today."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "small-1.fsi")
    with open(path, "rb") as f:
        vocab.save(restore.tokenizer_of(restore.sections(f.read())[restore.TOKENIZER, -1]), f"{tmp}/tokenizer.json")
    check("the shipped file's vocabulary gives the ids of its test vectors", restore.same_vocabulary(vocab.load(tmp), path))


def written_is_read(tmp):
    def read(text):
        with open(f"{tmp}/toy.txt", "w", encoding="utf8") as f:
            f.write(text)
        return written.load(tmp)

    held = "一天几次"
    sets, pairs = written.sets_and_pairs(read(WRITTEN), lambda t: t != held)
    zh, en = sets["written_toy_zh"], sets["written_toy_en"]
    check("slots are filled, held back texts dropped in both languages",
          [sorted(t) for t in zh["labels"]["剂量"]] == [["布洛芬怎么吃", "感冒药怎么吃"]]
          and [sorted(t) for t in en["labels"]["dosage"]] == [["how do I take cold medicine", "how do I take ibuprofen"]])
    check("names of both languages", zh["names"]["剂量"] == ["怎么吃", "dosage"]
          and en["names"]["dosage"] == ["剂量", "怎么吃"] and zh["descriptions"]["剂量"] == ["问怎么吃"])
    check("every filling and every value of a slot is a translated pair",
          all(p in pairs for p in (("is ibuprofen dear", "布洛芬贵吗"), ("ibuprofen", "布洛芬"), ("price", "价格")))
          and not any(held in p for p in pairs))
    said = {zh for _, zh in pairs}
    check("every Chinese message and first name has its English, domains too", all(
        t in said for s in sets.values() if s["lang"] == "zh" for label, texts in s["labels"].items() for t in bank.every(texts) + [label]))
    drawn = {t for i in range(20) for t in batches.draw(random.Random(i), zh["labels"]["价格"], 2)}
    check("a draw takes a pattern once", drawn == {"多少钱", "布洛芬贵吗", "感冒药贵吗"} and all(
        "多少钱" in batches.draw(random.Random(i), zh["labels"]["价格"], 2) for i in range(20)))
    os.makedirs(f"{tmp}/patterns")
    with open(f"{tmp}/patterns/sick.txt", "w", encoding="utf8") as f:
        f.write("# of illness\n{term}严重吗 | is {term} bad\n{term}和{other} | {term} or {other}\n")
    termed = WRITTEN.replace("intent 剂量", "patterns sick\n\nintent 剂量", 1) + "terms 发票 = invoice ; refund-id\n"
    sets, pairs = written.sets_and_pairs(read(termed), lambda t: t != "发票严重吗")
    check("a term stands alone and in patterns with another of its intent; what is held back is dropped",
          sorted(map(sorted, sets["written_toy_en"]["labels"]["return"][-2:])) ==
          [["invoice", "invoice or refund-id"], ["is refund-id bad", "refund-id", "refund-id or invoice"]])
    check("... and is a translated pair", ("invoice or refund-id", "发票和refund-id") in pairs and ("invoice", "发票") in pairs)
    for bad, where in ((termed.replace("patterns sick", "patterns well"), "toy.txt:"), (termed.replace("patterns sick\n\n", ""), "toy.txt"),
                       (termed + "terms a | b\n", "toy.txt:"), (termed + "terms a = b = c\n", "toy.txt:")):
        try:
            read(bad)
            check(f"refused: {bad[-12:]}", False)
        except written.Malformed as e:
            check(f"bad terms are refused with their place: {e}", where in str(e))
    for bad in ("怎么吃{food} | how do I take {food}", "怎么吃{drug} | how do I take it", "只有中文", "a | b | c",
                "ZH 一天几次 | how often a day"):
        try:
            read(WRITTEN.replace("一天几次 | how often a day", bad))
            check(f"refused: {bad}", False)
        except written.Malformed as e:
            check(f"refused with its place: {bad}", "toy.txt:11" in str(e))


def main():
    torch.set_num_threads(1)
    corpus = toy_corpus()
    tokenizer = vocab.train(vocab.sample(corpus), 420)
    tokenizer.encode_special_tokens = True
    idf = spelling.learn_idf(corpus["short"], tokenizer.normalizer.normalize_str)
    spell = spelling.Spelling(idf, tokenizer.normalizer.normalize_str)
    with tempfile.TemporaryDirectory() as tmp:
        resume_is_exact(tmp, corpus, tokenizer)
        minutes_are_kept(tmp, corpus, tokenizer)
        favoured_sets_are_drawn(tmp, corpus)
        bank_is_the_same(corpus, tokenizer)
        messages_find_their_names(corpus)
        held_back_within_is_dropped()
        signals_are_given_back(tmp, corpus, tokenizer)
        batches_are_their_parts(corpus, tokenizer)
        growing_changes_nothing(tokenizer)
        export_reads_back(tmp, tokenizer, spell, idf)
        shipped_vocabulary_reads_back(tmp)
        written_is_read(tmp)
    spelling_is_exact(tokenizer, spell)
    readout_is_consistent(tokenizer, spell)
    rounding_is_int8()
    means_are_even()
    mistakes_are_peoples()
    print("all good")


if __name__ == "__main__":
    main()
