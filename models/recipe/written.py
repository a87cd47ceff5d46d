#!/usr/bin/env python3
"""Messages that we wrote ourselves, in both languages: `written/DOMAIN.txt`, read into intent sets and translated pairs.

    python3 models/recipe/written.py                        counts, and whether every line is well formed
    python3 models/recipe/written.py --against ../shared/data   names lines whose text a held-back set has too

A file is a domain. Blocks are parted by blank lines; the two languages by ` | `, names by ` ; `:

    domain NAMES | NAMES                    once
    slot drug                               values, one a line, that may stand for {drug}
    intent NAMES | NAMES                    then `describe TEXT | TEXT`, then messages, one a line

A message with slots stands for many: it is a list of its fillings, of which an episode draws one, so that two messages of
an intent never differ in their slots alone.
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
SLOT = re.compile(r"\{(\w+)\}")
LANGUAGES = ("zh", "en")


class Malformed(ValueError):
    pass


def halves(line, where):
    parts = [p.strip() for p in line.split("|")]
    if len(parts) != 2 or not all(parts):
        raise Malformed(f"{where}: wants Chinese | English: {line}")
    return parts


def names(line, where):
    return [[n.strip() for n in half.split(";") if n.strip()] for half in halves(line, where)]


def read(path):
    """{"domain": [zh names, en names], "slots": {name: [[zh, en]]}, "intents": [{"names", "describe", "messages"}]}."""
    out, block, values = {"domain": None, "slots": {}, "intents": []}, None, False
    with open(path, encoding="utf8") as f:
        for number, line in enumerate(f, 1):
            line, where = line.strip(), f"{os.path.basename(path)}:{number}"
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            if word == "domain" and "|" in rest:
                out["domain"] = names(rest, where)
            elif word == "slot" and "|" not in rest:
                block, values = out["slots"].setdefault(rest.strip(), []), True
            elif word == "intent" and "|" in rest:
                out["intents"].append({"names": names(rest, where), "describe": None, "messages": []})
                block, values = out["intents"][-1]["messages"], False
            elif word == "describe" and out["intents"] and "|" in rest:
                out["intents"][-1]["describe"] = halves(rest, where)
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


def sets_and_pairs(files, keep=lambda text: True):
    """({name: set} for texts.py's corpus, texts being lists of fillings; translated [English, Chinese] pairs)."""
    sets, pairs = {}, {}
    for name, d in files.items():
        rng = random.Random(name)
        filled = [[f for m in i["messages"] for f in [fill(m, d["slots"], rng, keep)] if f] for i in d["intents"]]
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
        print(f"{name}: {len(d['intents'])} intents, {sum(len(i['messages']) for i in d['intents'])} messages")
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
