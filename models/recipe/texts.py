"""Gather the allowed texts (sources.py) into one `corpus.json` of lists that training samples from.

    short.en, short.zh   single sentences and queries, sorted by length (batches are cut from neighbours)
    long.en, long.zh     passages of up to about 500 tokens
    parallel             [English, Chinese] of one meaning
    pairs                [a, b] of one meaning, same language
    sets                 name -> {lang, labels: {label: [texts]}, names: {label: [other spellings]},
                         descriptions: {label: [sentences]}}; loading adds what we wrote ourselves (written.py)
    valid                name -> {lang, train: {label: [texts]}, test: {label: [texts]}, descriptions}

A text of the development group or of a validation set is removed from everything that trains. Same data, same bytes.
"""
import glob
import json
import lzma
import os
import random
import re

import label_names
import sources
import written
from glosses import HAN, PARTED

# sentences of a language and of one source at most: what a few hours of two cores can use, several times over; and what a GPU can
FEW = {"en": 450_000, "zh": 520_000, "source": 110_000}
MANY = {"en": 1_200_000, "zh": 700_000, "source": 400_000}


def pretty(label):
    """card_arrival -> card arrival, AddToPlaylist -> add to playlist; labels in other scripts stay."""
    s = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    s = re.sub(r"[_/.+:\-]+", " ", s).strip()
    return s.lower() if s.isascii() else s


def identity(text):
    """What makes two texts the same for leaving out: letters and digits only, case folded."""
    return re.sub(r"[\W_]+", "", text.lower())


def read_jsonl(path):
    with open(path, encoding="utf8") as f:
        return [json.loads(line) for line in f]


def read_corpus(data, name, first):
    with lzma.open(f"{data}/corpora/{name}.txt.xz", "rt", encoding="utf8") as f:
        lines = [line.strip() for line in f]
    return lines[:first] if first else lines


def held_back(data):
    """Identities of every text of the development group and of the validation sets."""
    out = set()
    for name in sources.DEVELOPMENT + tuple(sources.VALIDATION):
        for part in ("train", "test"):
            out.update(identity(r["text"]) for r in read_jsonl(f"{data}/intents/{name}.{part}.jsonl"))
    for name in sources.DEVELOPMENT_SEED:
        out.update(identity(r["text"]) for r in read_jsonl(f"{data}/seed/{name}.jsonl"))
    for name in sources.DEVELOPMENT_PAIRS:
        for r in read_jsonl(f"{data}/pairs/{name}.jsonl"):
            out.update((identity(r["a"]), identity(r["b"])))
    for path in glob.glob(f"{data}/../eval/dev/*.jsonl"):
        for e in read_jsonl(path):
            out.add(identity(e["text"]))
            out.update(identity(x["text"]) for x in e["examples"])
    out.discard("")
    return out


def by_label(rows, key, keep, max_len=160):
    out = {}
    for r in rows:
        label = pretty(r[key])
        if label and 0 < len(r["text"]) <= max_len and keep(r["text"]):
            out.setdefault(label, []).append(r["text"])
    return {k: list(dict.fromkeys(v)) for k, v in out.items()}


def label_words(lists, subset):
    """Other spellings and descriptions of a subset's labels, keyed by the pretty label."""
    names, descriptions = {}, {}
    for out, kind in ((names, "labels"), (descriptions, "descriptions")):
        for version in lists[kind].get(subset, {}).values():
            for label, words in version.items():
                out.setdefault(pretty(label), []).extend(pretty(w) if kind == "labels" else w for w in words if w)
    return [{k: sorted(set(v)) for k, v in d.items()} for d in (names, descriptions)]


def training_sets(data, keep):
    lists = json.load(open(f"{data}/seed/labels.json", encoding="utf8"))
    sets = {}
    for name, (lang, _, _) in {**sources.INTENTS, **sources.SEED}.items():
        if name in sources.SEED:
            labels = by_label(read_jsonl(f"{data}/seed/{name}.jsonl"), "label", keep)
        else:
            labels = by_label(read_jsonl(f"{data}/intents/{name}.train.jsonl"), "intent", keep)
        labels = {k: v for k, v in labels.items() if len(v) >= 2}
        if len(labels) >= 3:
            names, descriptions = label_words(lists, sources.SPELLINGS.get(name))
            sets[name] = {"lang": lang, "labels": labels, "names": {k: v for k, v in names.items() if k in labels},
                          "descriptions": {k: v for k, v in descriptions.items() if k in labels}}
    return sets


def validation_sets(data):
    lists = json.load(open(f"{data}/seed/labels.json", encoding="utf8"))
    out = {}
    for name, (lang, _, _) in sources.VALIDATION.items():
        parts = {p: by_label(read_jsonl(f"{data}/intents/{name}.{p}.jsonl"), "intent", lambda t: True, 200)
                 for p in ("train", "test")}
        out[name] = {"lang": lang, **parts, "descriptions": label_words(lists, name)[1]}
    return out


def sentences(line, lang):
    """Cut one corpus line into sentences; dialogues are tab-separated turns."""
    cut = r"\t|(?<=[.?!])\s+" if lang == "en" else r"[\t。！？\n]"
    return [s.strip() for s in re.split(cut, line)]


def fits(s, lang):
    return 2 <= len(s.split()) <= 28 and len(s) <= 170 if lang == "en" else 3 <= len(s) <= 48 and HAN.search(s)


def passage(line, lang, rng):
    """A stretch of a document: 200 to 1,900 characters of English, 80 to 700 of Chinese."""
    low, high = (200, 1900) if lang == "en" else (80, 700)
    return line.replace("\t", " ")[: rng.randint(low, high)] if len(line) >= low else None


def gather(data, most=FEW, seed=1):
    rng = random.Random(seed)
    held = held_back(data)
    keep = lambda text: identity(text) not in held
    short, long = {"en": {}, "zh": {}}, {"en": [], "zh": []}  # dicts: ordered sets

    sets = training_sets(data, keep)
    pairs = [(r["a"], r["b"]) for name in sources.PAIRS for r in read_jsonl(f"{data}/pairs/{name}.jsonl")
             if keep(r["a"]) and keep(r["b"])
             and (short["zh"].update({r["a"]: 1, r["b"]: 1}) or r["same"])]
    pairs = [p for p in dict.fromkeys(pairs) if max(map(len, p)) <= 60 and p[0] != p[1]]
    parallel = {}
    for name in sources.PARALLEL:
        with lzma.open(f"{data}/parallel/{name}.tsv.xz", "rt", encoding="utf8") as f:
            for line in f:
                en, zh = line.rstrip("\n").split("\t")[:2]
                if 2 <= len(zh) <= 60 and len(en) <= 200 and keep(en) and keep(zh):
                    parallel[en, zh] = 1
    for en, zh in parallel:
        short["en"][en] = short["zh"][zh] = 1
    for s in sets.values():
        for texts in s["labels"].values():
            for t in texts:
                short["zh" if HAN.search(t) else "en"][t] = 1
    for name, (lang, _, _, first) in sources.CORPORA.items():
        lines = read_corpus(data, name, first)
        rng.shuffle(lines)
        got = 0
        for line in lines:
            p = passage(line, lang, rng) if len(long[lang]) < 12_000 and rng.random() < 0.2 else None
            if p and keep(p):
                long[lang].append(p)
            for s in sentences(line, lang):
                if got < most["source"] and fits(s, lang) and keep(s):
                    got += s not in short[lang]
                    short[lang][s] = 1
    for lang in ("en", "zh"):
        texts = [t for t in short[lang] if t.strip()]
        short[lang] = sorted(rng.sample(texts, min(most[lang], len(texts))), key=lambda t: (len(t), t))
        long[lang].sort(key=lambda t: (len(t), t))
    return {"short": short, "long": long, "parallel": sorted(parallel, key=lambda p: (len(p[1]), p)),
            "pairs": sorted(pairs, key=lambda p: (len(p[0]), p)), "sets": sets, "valid": validation_sets(data)}


PIECE = {"en": 20, "zh": 6}  # characters from which a sentence within a text is somebody's own


def pieces(text, lang):
    """What stands between the ends of sentences, of Chinese also between spaces (which part a dialogue's turns in passages)."""
    cut = r"(?<=[.?!])\s+" if lang == "en" else r"[\s。！？]+"
    return [identity(p) for p in re.split(cut, text) if len(p) >= PIECE[lang]]


def without_pieces(corpus, held):
    """Drop sentences and passages of which a piece is held back, or is a piece of a validation set's text: gather() looks at them whole."""
    own = {lang: {p for s in corpus["valid"].values() if s["lang"] == lang for part in ("train", "test") for t in s[part].values()
                  for text in t for p in pieces(text, lang)} | held for lang in ("en", "zh")}
    for length in ("short", "long"):
        for lang, all_texts in corpus[length].items():
            corpus[length][lang] = [t for t in all_texts if own[lang].isdisjoint(pieces(t, lang))]


def made(path, make):
    """The JSON file `path`, made where it is not there yet."""
    if not os.path.exists(path):
        with open(path + ".new", "w", encoding="utf8") as f:
            json.dump(make(), f, ensure_ascii=False)
        os.replace(path + ".new", path)
    with open(path, encoding="utf8") as f:
        return json.load(f)


def load(work, data=None, most=FEW):
    """The corpus of a work folder, made from `data` when it is not there yet, with our own texts of today."""
    corpus = label_names.add(made(f"{work}/corpus.json", lambda: gather(data, most)))
    for length in ("short", "long"):  # a packed corpus has its Chinese ones among the translations
        if "zh" not in corpus[length]:
            with open(f"{work}/translations.json", encoding="utf8") as f:
                corpus[length]["zh"] = [t.replace(PARTED, "") for t in json.load(f)["texts"][length]]
    if "written" not in corpus:  # ... and these in it
        held = set(made(f"{work}/held_back.json", lambda: sorted(held_back(data))))
        without_pieces(corpus, held)
        written.add(corpus, lambda text: identity(text) not in held)
    return corpus
