"""The model card: `card.json` (data with licences, plan, scalars, figures) and `models/README.md` made from it."""
import argparse
import json
import os

import sources
import texts
import train
import written

HEAD = """# The shipped model `small`

A GPT-2 of 6 layers x 384 (12 heads, 512 positions, 24,000 byte-level BPE tokens, English and Chinese) that answers
`fsi_classify` by pointing: message, intent names, descriptions and examples are each encoded alone, and the answer is
the candidate whose segments are most similar. `small-1.fsi` is the packed int8 file; `recipe/` makes it again.

## Recipe in short

Blocks start from the encoder all-MiniLM-L6-v2, converted to a causal pre-norm GPT-2; Chinese tokens start from
dictionary glosses (CC-CEDICT). Then distillation on English texts, translated pairs and glossed Chinese, with paraphrases
and intent sets drawn together; then few-shot episodes with the pointing readout; then a short stretch with int8 rounding in
the loop. Similarity adds a spelling term (hashed character n-grams) to meaning; its weight and the other scalars were
chosen on intent sets that training never saw. `recipe/README.md` tells it in full, `recipe/LOG.md` what was measured.
"""
# by sentences a step: LOG.md's minutes of the phases, added; to be changed with the plan
COMPUTE = {96: "some nine hours on one or two cores of a CPU with AVX2", 192: "some five hours on two cores of a CPU with AVX-512 BF16",
           4096: "15 minutes on one H100 GPU, for half of them shared with another training"}
LIMITS = """## Limits

- Made for short messages and a handful to a few hundred intents. A message of more than 510 tokens keeps its head and tail; a longer intent,
  description or example is an error.
- English and Chinese only. Other languages reach it as bytes and spelling; expect little.
- English is at the level of a small sentence encoder. Chinese was learned without a Chinese teacher from far less data:
  intents that need specialist knowledge (medicine above all) or several clauses of context are its weak side; give
  examples there.
- Examples help most where names are vague. With good names and unlike examples, one or two examples may add nothing.
- Scores are calibrated on ten validation sets of mixed kind; on your data take thresholds from your data. `other` is a bar
  for the best intent to clear, not a detector of harm or nonsense.
- Feelings and sentiment it has met in our own texts alone, and was not measured on them; for irony, negation, arithmetic or facts it
  was neither trained nor measured.
- Training texts carry their authors' biases. Do not use it alone for decisions about people.
"""


def data_table(corpus):
    """Rows of {name, kind, lang, licence, source, texts, intents}: everything that trained."""
    rows = []
    for name, (lang, licence, source) in {**sources.INTENTS, **sources.SEED}.items():
        labels = corpus["sets"].get(name, {"labels": {}})["labels"]
        rows.append({"name": name, "kind": "intents", "lang": lang, "licence": licence, "source": source,
                     "texts": sum(map(len, labels.values())), "intents": len(labels)})
    for name, d in written.load().items():
        rows.append({"name": name, "kind": "intents, translations", "lang": "en, zh", "licence": "this project's",
                     "source": "recipe/written, our own", "texts": sum(len(i["messages"]) + len(i["terms"]) for i in d["intents"]),
                     "intents": len(d["intents"])})
    rows += [{"name": n, "kind": "paraphrases", "lang": lang, "licence": lic, "source": src}
             for n, (lang, lic, src) in sources.PAIRS.items()]
    rows += [{"name": n, "kind": "translations", "lang": "en, zh", "licence": lic, "source": src}
             for n, (lic, src) in sources.PARALLEL.items()]
    rows += [{"name": n, "kind": "plain text", "lang": lang, "licence": lic, "source": src}
             for n, (lang, lic, src, _) in sources.CORPORA.items()]
    return rows


def gather(work, scalars, figures):
    corpus = texts.load(work)
    with open(f"{work}/plan.json", encoding="utf8") as f:
        plan = json.load(f)
    return {
        "name": "small", "shape": "GPT-2, 6 layers x 384, 12 heads, 512 positions, 24,000 tokens",
        "descends_from": [
            {"name": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "what": "first weights of the blocks; teacher"},
            {"name": "CC-CEDICT", "licence": "CC BY-SA 4.0", "what": "first vectors of Chinese tokens; glosses"}],
        "data": data_table(corpus),
        "counts": {"short": {k: max([len(v)] + [p["sentences"][k] for p in plan if "sentences" in p])
                             for k, v in corpus["short"].items()},
                   "long": {k: len(v) for k, v in corpus["long"].items()},
                   "translations": len(corpus["parallel"]) + len(corpus["written"]), "paraphrases": len(corpus["pairs"]),
                   "intent sets": len(corpus["sets"])},
        "validation": [{"name": n, "lang": lang, "licence": lic, "source": src}
                       for n, (lang, lic, src) in sources.VALIDATION.items()],
        "left_out": sources.LEFT_OUT, "plan": plan, "readout": scalars, "figures": figures}


def markdown(c):
    """models/README.md from a card; the part between the accuracy marks is kept by `write_markdown`."""
    n = c["counts"]
    steps = ", ".join(f"{p['steps']} steps of {p['kind']}{' with rounding' if p.get('rounding') else ''}"
                      f"{' from the end of phase ' + p['from'] if 'from' in p else ''}"
                      f"{' from the mean with the end of phase ' + p['mean'] if 'mean' in p else ''}" if p["steps"]
                      else f"the mean with the end of phase {p['mean'].replace('+', ' and of ')}" for p in c["plan"])
    out = [HEAD, f"Plan: {steps}. Readout scalars: "
           + ", ".join(f"{k} {v:g}" for k, v in c["readout"].items()) + ".\n",
           "Compute: " + "; ".join(
               f"{sum(p['steps'] for p in c['plan'] if p.get('batch', 96) == batch):,} steps of {batch:,} sentences, {COMPUTE[batch]}"
               for batch in sorted({p.get("batch", 96) for p in c["plan"]})) + ".\n",
           "## Accuracy\n\n<!-- accuracy -->\nNot measured yet.\n<!-- /accuracy -->\n", LIMITS,
           "## What it descends from\n"]
    out += [f"- {d['name']} ({d['licence']}): {d['what']}" for d in c["descends_from"]]
    out += ["\nThe obligations that follow are in the `NOTICE` at the top of the repository.\n", "## Data\n",
            f"{n['short']['en']:,} English and {n['short']['zh']:,} Chinese sentences, "
            f"{n['long']['en'] + n['long']['zh']:,} passages, {n['translations']:,} translated pairs, "
            f"{n['paraphrases']:,} paraphrase pairs, {n['intent sets']} intent sets. Licences as each source states them; "
            "\"none stated\" means just that. Interface strings of free programs were training text; of these texts only "
            "those of our own are in the repository.\n", "| name | use | language | texts / intents | licence as stated | source |",
            "|---|---|---|---:|---|---|"]
    for r in c["data"]:
        size = f"{r['texts']:,} / {r['intents']}" if "texts" in r else ""
        out.append(f"| {r['name']} | {r['kind']} | {r['lang']} | {size} | {r['licence']} | {r['source']} |")
    out += ["\nWeights and readout scalars were chosen on these sets. Training saw none of their labels and none of their messages in its "
            "own sets; turns of risawoz_domain's dialogues (160 of its 590 texts) stood in the unlabelled Chinese passages until phase ad:\n",
            "| name | language | licence as stated | source |", "|---|---|---|---|"]
    out += [f"| {r['name']} | {r['lang']} | {r['licence']} | {r['source']} |" for r in c["validation"]]
    out += ["\nNever used: the development group (" + ", ".join(sources.DEVELOPMENT) + "), whose texts were also removed "
            "from everything else. Left out:\n"]
    out += [f"- {name}: {why}" for name, why in c["left_out"].items()]
    return "\n".join(out) + "\n"


def write_markdown(path, card):
    """Write the card, keeping what stands between the accuracy marks of the file that is there."""
    text = markdown(card)
    marks = "<!-- accuracy -->", "<!-- /accuracy -->"
    try:
        with open(path, encoding="utf8") as f:
            old = f.read()
    except FileNotFoundError:
        old = ""
    if all(m in old for m in marks):
        cut = lambda s: (s.index(marks[0]), s.index(marks[1]))
        (a, b), (c, d) = cut(text), cut(old)
        text = text[:a] + old[c:d] + text[b:]
    with open(path, "w", encoding="utf8") as f:
        f.write(text)


def write(path, work, scalars, figures):
    with open(path, "w", encoding="utf8") as f:
        json.dump(gather(work, scalars, figures), f, ensure_ascii=False, indent=1)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--work", default="models/recipe/work")
    p.add_argument("--out", default="models/README.md")
    a = p.parse_args()
    with open(f"{a.work}/export/config.json", encoding="utf8") as f:
        scalars = json.load(f)["fsi"]["readout"]
    card = gather(a.work, scalars, None)
    write_markdown(a.out, card)
    train.write_plan(os.path.dirname(os.path.abspath(__file__)), card["plan"])


if __name__ == "__main__":
    main()
