"""Chinese into English, word by word: the teacher knows no Chinese, and a gloss is a noisy target it can encode.

Words come from jieba, senses from CC-CEDICT; function words and the commonest words of requests are given by hand,
because a dictionary's first sense of them misleads.
"""
import json
import os
import re

HAN = re.compile(r"[\u3400-\u9fff]")
NOT_A_SENSE = re.compile(r"surname|variant of|old variant|see |CL:|used in|abbr\. for|also written|Japanese variant"
                         r"|erhua|\(bound form\)$|classifier")
BY_HAND = dict(zip(
    "的 了 我 你 他 她 是 吗 呢 吧 啊 请 要 想 把 给 在 有 没 没有 不 怎么 怎样 如何 什么 怎么办 为什么 为啥 几 多少 哪 哪里 这 那 一 个 "
    "一个 一下 和 我们 可以 能 会 就 都 也 还 到 去 来 上 下 里 帮 帮我 给我 今天 明天 天气 打开 关闭 播放 多久 什么时候 是否 呀 嘛 "
    "能否 为何 咋 啥 得 地 着 过 被 很".split(),
    "of||I|you|he|she|is|?||||please|want|want to||give|at|have|not|not have|not|how|how|how|what|what to do|why|why|"
    "how many|how much|which|where|this|that|one||a||and|we|can|can|will|then|all|also|still|to|go|come|on|down|in|"
    "help|help me|give me|today|tomorrow|weather|open|close|play|how long|when|whether|||can|why|how|what|||||by|very"
    .split("|")))


def words(text):
    """Segment Chinese into words (jieba; loaded when first needed)."""
    import jieba
    jieba.setLogLevel(60)
    return jieba.cut(text)


PARTED = "\x7f"  # DEL stands between the words of a packed text


class Packed:
    """Words and entries found beforehand, for a machine without jieba and CC-CEDICT (pack_for_gpu.py)."""

    def __init__(self, path):
        with open(path, encoding="utf8") as f:
            packed = json.load(f)
        self.entries, self.sounds, sense = packed["entries"], packed.get("sounds", {}), packed["words"]
        cut = [t.split(PARTED) for part in packed["texts"].values() for t in part]
        self.made = {"".join(ws): tidy(sense.get(w, w) for w in ws) for ws in cut}

    def translate(self, text):
        return self.made[text] if HAN.search(text) else text


def load(work, fetch):
    """Packed translations if the work folder has them, else the dictionary (fetched by `fetch`)."""
    packed = f"{work}/translations.json"
    return Packed(packed) if os.path.exists(packed) else Glosses(fetch(work))


def tidy(senses):
    return re.sub(r"\s+", " ", " ".join(senses)).strip() or "."


class Glosses:
    def __init__(self, path):
        text = open(path, encoding="utf8").read()
        entries = json.loads(text[text.index("{"): text.rindex("}") + 1])["all"]
        self.senses = {}  # then `entries`: words of two characters and more, each after its first senses
        self.sounds = {}  # of a character, without tones
        for _, simplified, pinyin, meaning, *_ in entries:
            if len(simplified) == 1 and HAN.match(simplified):
                sounds = self.sounds.setdefault(simplified, [])
                sound = pinyin.lower().rstrip("12345")
                sounds += [sound] * (sound not in sounds)
            if pinyin[:1].isupper() and len(simplified) == 1:
                continue  # a surname
            for part in meaning if isinstance(meaning, list) else [meaning]:
                for sense in re.split(r"[/;]", part):
                    sense = sense.strip()
                    if NOT_A_SENSE.match(sense):
                        continue
                    sense = re.sub(r"\([^)]*\)|\[[^\]]*\]|[\u3400-\u9fff|]+", "", sense)
                    sense = re.sub(r"^to ", "", sense.strip())
                    if pinyin[:1].isupper():
                        sense = sense.split(",")[0].strip()  # Beijing, capital of … -> Beijing
                    if sense and len(sense) < 40:
                        self.senses.setdefault(simplified, []).append(sense)
        self.entries = [[", ".join(senses[:2]), w] for w, senses in sorted(self.senses.items())
                        if len(w) > 1 and all(HAN.match(c) for c in w)]

    def word(self, w):
        """The shortest of a word's first senses, '' for a particle, None for an unknown word."""
        if w in BY_HAND:
            return BY_HAND[w]
        senses = self.senses.get(w)
        return min(senses[:4], key=lambda s: len(s.split())) if senses else None

    def pieces(self, w):
        """Senses of the longest known pieces of an unknown word, left to right."""
        out, i = [], 0
        while i < len(w):
            for j in range(len(w), i, -1):
                sense = self.word(w[i:j])
                if sense is not None:
                    out.append(sense)
                    break
            i = j if sense is not None else i + 1
        return out

    def translate(self, text):
        """English words in Chinese order; text without Chinese characters is returned as it is."""
        if not HAN.search(text):
            return text
        return tidy(self.sense(w) for w in words(text))

    def sense(self, w):
        """A word's sense, or those of its pieces; a word without Chinese characters is its own."""
        if not HAN.search(w):
            return w
        sense = self.word(w)
        return " ".join(self.pieces(w)) if sense is None else sense
