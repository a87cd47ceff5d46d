#!/usr/bin/env python3
"""A corpus of our own texts alone (written/), with nothing to gloss: for a look at speed where no other text is.

    own_texts.py WORK [PAIRS]     writes WORK/corpus.json and WORK/translations.json, of the first PAIRS translated pairs
"""
import json
import sys

import written
from glosses import HAN


def main():
    sets, pairs = written.sets_and_pairs(written.load())
    pairs = pairs[: int(sys.argv[2]) if len(sys.argv) > 2 else None]
    english, chinese = ([p[k] for p in pairs] for k in (0, 1))
    by_length = lambda texts: sorted(dict.fromkeys(texts), key=lambda t: (len(t), t))
    passages = [[" ".join(texts[i: i + 20]) for i in range(0, len(texts) - 20, 20)] for texts in (english, chinese)]
    corpus = {"short": {"en": by_length(english), "zh": by_length(chinese)}, "long": dict(zip(("en", "zh"), passages)),
              "parallel": pairs, "pairs": [[a, b] for a, b in zip(chinese, chinese[1:])], "sets": sets, "valid": {},
              "written": pairs}
    glossed = [t for t in chinese + english + passages[0] + passages[1] if HAN.search(t)]
    with open(f"{sys.argv[1]}/corpus.json", "w", encoding="utf8") as f:
        json.dump(corpus, f)
    with open(f"{sys.argv[1]}/translations.json", "w", encoding="utf8") as f:
        json.dump({"entries": pairs, "words": {}, "texts": {"all": glossed}}, f)


if __name__ == "__main__":
    main()
