"""Messages as people type them in a hurry: training meets misspelt texts with the targets of the right ones.

A letter becomes its neighbour on the keyboard, falls out, is doubled or changes places with the next; a Chinese character
becomes one of the same sound (as input by pinyin has it), or one of the other three. One mistake and another for every 30
characters; now and then marks or an emoji at the end instead.
"""
import collections

from glosses import HAN

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEAR = {c: row[max(0, i - 1): i] + row[i + 1: i + 2] for row in ROWS for i, c in enumerate(row)}
ENDS = ("!", "!!!", "...", "??", "~", "😀", "😂", "😡", "😭", "🙏", "👍", "❤️")
EVERY, FEWEST = 30, 4  # characters a mistake; a text with fewer letters is left alone
COMMON = 20  # times that a character must stand in the texts to be somebody's mistake


class Typos:
    """sounds: {character: its sounds without tones}; texts: what shows which characters are common."""

    def __init__(self, sounds, texts):
        seen = collections.Counter(c for t in texts for c in t if c in sounds)
        same = {}
        for c, said in sounds.items():
            if seen[c] >= COMMON:
                for sound in said:
                    same.setdefault(sound, []).append(c)
        self.alike = {c: sorted({d for sound in said for d in same.get(sound, ()) if d != c}) for c, said in sounds.items()}

    def __call__(self, rng, text):
        """The text with mistakes; the same text where it is too short for them."""
        if rng.random() < 0.1:
            return text + rng.choice(("", " ")) + rng.choice(ENDS)
        c = list(text)
        for _ in range(1 + len(text) // EVERY):
            at = [i for i, x in enumerate(c) if x.lower() in NEAR or HAN.match(x)]
            if len(at) < FEWEST:
                break
            self.mistake(rng, c, rng.choice(at))
        return "".join(c)

    def mistake(self, rng, c, i):
        r = rng.random()
        others = self.alike.get(c[i]) if HAN.match(c[i]) else NEAR[c[i].lower()]
        if r < (0.6 if HAN.match(c[i]) else 0.3) and others:
            c[i] = rng.choice(others)
        elif r < 0.72:
            del c[i]
        elif r < 0.86 or i + 1 == len(c):
            c.insert(i, c[i])
        else:
            c[i], c[i + 1] = c[i + 1], c[i]
