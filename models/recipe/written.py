#!/usr/bin/env python3
"""Messages that we wrote ourselves, in both languages: `written/DOMAIN.txt`, read into intent sets and translated pairs.

    python3 models/recipe/written.py                        counts, and whether every line is well formed
    python3 models/recipe/written.py --against ../shared/data   names lines whose text a held-back set has too

A file is a domain. Blocks are parted by blank lines; the two languages by ` | `, names by ` ; `:

    domain NAMES | NAMES                    once
    patterns software                       how people ask about a term: written/patterns/software.txt
    slot drug                               values, one a line, that may stand for {drug}
    intent NAMES | NAMES                    then `describe TEXT | TEXT`, then messages, one a line
    terms TERM ; 词 = TERM ; ...            words by which the intent is recognised although its name is not said, in it

A message with slots stands for many: it is a list of its fillings, of which an episode draws one, so that two messages of
an intent never differ in their slots alone. So does a term: itself and some patterns with it as {term}, {other} being another
term of its intent.
"""
import argparse
import glob
import itertools
import os
import random
import re
import sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "written")
FILLINGS = 12  # of one message with slots
ASKED = 5  # patterns that a term is put into
SLOT = re.compile(r"\{(\w+)\}")
LANGUAGES = ("zh", "en")


class Malformed(ValueError):
    pass


def halves(line, where):
    parts = [p.strip() for p in line.split("|")]
    if len(parts) != 2 or not all(parts):
        raise Malformed(f"{where}: wants Chinese | English: {line}")
    if parts[0].startswith("ZH ") or parts[1].startswith("EN "):
        raise Malformed(f"{where}: a language's mark is no part of its text: {line}")
    return parts


def names(line, where):
    return [[n.strip() for n in half.split(";") if n.strip()] for half in halves(line, where)]


def terms(rest, where):
    """[[zh, en]] of a line of terms: `词 = TERM`, or one that is the same in both languages."""
    out = [[side.strip() for side in t.split(" = ")] for t in rest.split(";") if t.strip()]
    if "|" in rest or any(len(t) > 2 or not all(t) for t in out):
        raise Malformed(f"{where}: wants terms, TERM or 词 = TERM, parted by ;: {rest}")
    return [t * (2 // len(t)) for t in out]


def patterns(name, where, folder):
    """[[zh, en]]: the lines of patterns/NAME.txt, each with {term} and perhaps {other} in both languages."""
    path = f"{folder}/patterns/{name}.txt"
    if not os.path.exists(path):
        raise Malformed(f"{where}: no file {path}")
    out = []
    with open(path, encoding="utf8") as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                zh, en = halves(line.strip(), at := f"{os.path.basename(path)}:{number}")
                if set(SLOT.findall(zh)) != set(SLOT.findall(en)) or "{term}" not in zh or set(SLOT.findall(zh)) - {"term", "other"}:
                    raise Malformed(f"{at}: wants {{term}} and perhaps {{other}} in both languages: {line.strip()}")
                out.append([zh, en])
    return out


def read(path):
    """{"domain": [zh names, en names], "slots": {name: [[zh, en]]}, "patterns": [[zh, en]],
    "intents": [{"names", "describe", "messages", "terms"}]}."""
    out, block, values = {"domain": None, "slots": {}, "patterns": [], "intents": []}, None, False
    with open(path, encoding="utf8") as f:
        for number, line in enumerate(f, 1):
            line, where = line.strip(), f"{os.path.basename(path)}:{number}"
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            if word == "domain" and "|" in rest:
                out["domain"] = names(rest, where)
            elif word == "patterns" and "|" not in rest:
                out["patterns"] += patterns(rest.strip(), where, os.path.dirname(path))
            elif word == "slot" and "|" not in rest:
                block, values = out["slots"].setdefault(rest.strip(), []), True
            elif word == "intent" and "|" in rest:
                out["intents"].append({"names": names(rest, where), "describe": None, "messages": [], "terms": []})
                block, values = out["intents"][-1]["messages"], False
            elif word == "describe" and out["intents"] and "|" in rest:
                out["intents"][-1]["describe"] = halves(rest, where)
            elif word == "terms" and out["intents"] and not values:
                out["intents"][-1]["terms"] += terms(rest, where)
            elif block is None:
                raise Malformed(f"{where}: outside of any block: {line}")
            else:
                zh, en = halves(line, where)
                wanted = set(SLOT.findall(zh))
                if wanted != set(SLOT.findall(en)) or wanted - out["slots"].keys() or values and wanted:
                    raise Malformed(f"{where}: slots differ or are not known: {line}")
                block.append([zh, en])
    if not out["domain"] or len(out["intents"]) < 3:
        raise Malformed(f"{path}: wants a domain and three intents")
    for i in out["intents"]:
        if len(i["messages"]) < 2 or not all(i["names"]):
            raise Malformed(f"{path}: too few messages or names: {i['names']}")
        if i["terms"] and not (out["patterns"] and len(i["terms"]) > 1):
            raise Malformed(f"{path}: terms want patterns, and another term: {i['names']}")
    return out


def fill(message, slots, rng, keep):
    """The fillings of one [zh, en] that may be kept: at most FILLINGS of them; itself where it has no slot."""
    wanted = list(dict.fromkeys(SLOT.findall(message[0])))
    choices = list(itertools.product(*(slots[s] for s in wanted)))
    out = []
    for values in rng.sample(choices, min(FILLINGS, len(choices))):
        given = dict(zip(wanted, values))
        made = [SLOT.sub(lambda m: given[m.group(1)][k], message[k]) for k in (0, 1)]
        if all(map(keep, made)):
            out.append(made)
    return out


def ask(term, among, forms, rng, keep):
    """What people write about one [zh, en] term of an intent: itself, and ASKED patterns with it."""
    out = [term]
    for form in rng.sample(forms, min(ASKED, len(forms))):
        other = rng.choice([t for t in among if t is not term])
        given = {"term": term, "other": other}
        out.append([SLOT.sub(lambda m: given[m.group(1)][k], form[k]) for k in (0, 1)])
    return [made for made in out if all(map(keep, made))]


def sets_and_pairs(files, keep=lambda text: True):
    """({name: set} for texts.py's corpus, texts being lists of fillings; translated [English, Chinese] pairs)."""
    sets, pairs = {}, {}
    for name, d in files.items():
        rng = random.Random(name)
        filled = [[f for f in [fill(m, d["slots"], rng, keep) for m in i["messages"]]
                   + [ask(t, i["terms"], d["patterns"], rng, keep) for t in i["terms"]] if f] for i in d["intents"]]
        for k, lang in enumerate(LANGUAGES):
            s = {"lang": lang, "labels": {}, "names": {}, "descriptions": {}}
            for i, messages in zip(d["intents"], filled):
                own, other = i["names"][k], i["names"][1 - k]
                s["labels"].setdefault(own[0], []).extend([f[k] for f in m] for m in messages)
                s["names"].setdefault(own[0], []).extend(own[1:] + other)
                if i["describe"]:
                    s["descriptions"].setdefault(own[0], []).append(i["describe"][k])
            sets[f"written_{name}_{lang}"] = s
        for messages in filled:
            pairs.update(((f[1], f[0]), 1) for m in messages for f in m)
        for i in d["intents"]:
            for zh, en in filter(None, (i["describe"], [i["names"][0][0], i["names"][1][0]])):
                pairs[en, zh] = 1
        for zh, en in (value for values in d["slots"].values() for value in values):
            if keep(zh) and keep(en):
                pairs[en, zh] = 1
    # the domains themselves: a coarse set of every file's messages
    for k, lang in enumerate(LANGUAGES):
        s = {"lang": lang, "labels": {}, "names": {}, "descriptions": {}}
        for name, d in files.items():
            own = d["domain"][k]
            s["labels"][own[0]] = [t for label in sets[f"written_{name}_{lang}"]["labels"].values() for t in label]
            s["names"][own[0]] = own[1:] + d["domain"][1 - k]
            pairs[d["domain"][1][0], d["domain"][0][0]] = 1
        if len(s["labels"]) >= 3:
            sets[f"written_domains_{lang}"] = s
    return sets, sorted(pairs, key=lambda p: (len(p[1]), p))


def load(folder=FOLDER):
    return {os.path.splitext(os.path.basename(p))[0]: read(p) for p in sorted(glob.glob(f"{folder}/*.txt"))}


def add(corpus, keep, folder=FOLDER):
    """Our sets and pairs, added to a loaded corpus; without a text that is held back (a short command coincides now and then)."""
    sets, corpus["written"] = sets_and_pairs(load(folder), keep)
    corpus["sets"].update(sets)
    return corpus


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--against", metavar="DATA", help="folder with intents/, pairs/, seed/ beside eval/")
    a = p.parse_args()
    files = load()
    sets, pairs = sets_and_pairs(files)
    for name, d in files.items():
        print(f"{name}: {len(d['intents'])} intents, {sum(len(i['messages']) for i in d['intents'])} messages, "
              f"{sum(len(i['terms']) for i in d['intents'])} terms")
    print(f"{len(files)} files, {len(pairs)} pairs with their fillings")
    if a.against:
        import texts
        held, found = texts.held_back(a.against), 0
        for name, s in sets.items():
            for label, messages in s["labels"].items():
                for t in {t for m in messages for t in m if not name.startswith("written_domains")}:
                    if texts.identity(t) in held:
                        found += 1
                        print(f"held back too: {name}: {label}: {t}")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
