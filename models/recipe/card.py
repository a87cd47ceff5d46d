"""What the model card tells, as JSON: data with licences (from sources.py), the plan, scalars and measured figures."""
import json

import sources
import texts


def data_table(corpus):
    """Rows of {name, kind, lang, licence, source, texts}: everything that trained, then what was left out."""
    rows = []
    for name, (lang, licence, source) in {**sources.INTENTS, **sources.SEED}.items():
        labels = corpus["sets"].get(name, {"labels": {}})["labels"]
        rows.append({"name": name, "kind": "intents", "lang": lang, "licence": licence, "source": source,
                     "texts": sum(map(len, labels.values())), "intents": len(labels)})
    rows += [{"name": n, "kind": "paraphrases", "lang": lang, "licence": lic, "source": src}
             for n, (lang, lic, src) in sources.PAIRS.items()]
    rows += [{"name": n, "kind": "translations", "lang": "en, zh", "licence": lic, "source": src}
             for n, (lic, src) in sources.PARALLEL.items()]
    rows += [{"name": n, "kind": "plain text", "lang": lang, "licence": lic, "source": src}
             for n, (lang, lic, src, _) in sources.CORPORA.items()]
    return rows


def write(path, work, scalars, figures):
    corpus = texts.load(work)
    with open(f"{work}/plan.json", encoding="utf8") as f:
        plan = json.load(f)
    out = {
        "name": "small", "shape": "GPT-2, 6 layers x 384, 12 heads, 512 positions, 24,000 tokens",
        "descends_from": [
            {"name": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "what": "first weights of the blocks; teacher"},
            {"name": "CC-CEDICT", "licence": "CC BY-SA 4.0", "what": "first vectors of Chinese tokens; glosses"}],
        "data": data_table(corpus),
        "counts": {"short": {k: len(v) for k, v in corpus["short"].items()},
                   "long": {k: len(v) for k, v in corpus["long"].items()},
                   "translations": len(corpus["parallel"]), "paraphrases": len(corpus["pairs"]),
                   "intent sets": len(corpus["sets"])},
        "validation": [{"name": n, "lang": lang, "licence": lic, "source": src}
                       for n, (lang, lic, src) in sources.VALIDATION.items()],
        "left_out": sources.LEFT_OUT, "plan": plan, "readout": scalars, "figures": figures}
    with open(path, "w", encoding="utf8") as f:
        json.dump(out, f, ensure_ascii=False, indent=1)
