"""Ids of random strings through our tokenizers and through Hugging Face's; they must be equal.

    tokens.py [COUNT]

FSI_TOOLS (build/tools) is the folder of the built tools, of which fsi_tokens is used. Each of COUNT (20,000) strings mixes
characters of every script and category, words, runs of spaces, contractions, marks, emoji and literal special tokens. They go through
- WordPiece, cased and lower-cased: transformers' BertTokenizerFast and BertTokenizer;
- byte-level BPE, plain and with NFKC + Lowercase + prefix space: GPT2TokenizerFast, GPT2Tokenizer (plain only, the
  slow one has no normaliser) and tokenizers.Tokenizer;
- each of them once more as the tokenizer.json that we write from it (tokenizers.Tokenizer);
on vocabularies trained here on half of the strings and, where FSI_SHARED has them, on the published one's and GPT-2's.

Known differences, each because a side has other Unicode tables; the strings stay clear of exactly these:
- Characters newer than Unicode 8.0: tokenizers' category tables (the crate unicode_categories) end there, utf8proc
  (2.8) has Unicode 15, Python 3.11 has 14, Oniguruma 16. A newer mark is kept there and dropped here, and so on.
- CHANGED: characters whose category changed since.
- GAP: U+2B820..2B91F (a part of CJK extension E, Unicode 8.0) are Han here and in BertTokenizer; BertTokenizerFast
  has a slip in its table (2B920 for 2B820).
Differences of the slow tokenizers from the fast ones, which we follow:
- BertTokenizer applies NFC after it has dropped control characters: it is given strings in NFC, and not those where
  dropping brings marks together.
- BertTokenizer looks for special tokens again after that ("[CL", U+E000, "S]"): such strings are left out.
- BertTokenizer lower-cases whole words (final sigma): strings with U+03A3 are left out when lower-casing.
- BertTokenizer drops unassigned characters too (left for it: the noncharacters, U+FFFE and the like): strings with
  such are left out. Ours and the fast one drop Cc, Cf and Co alone.
- GPT2Tokenizer's `regex` module has newer tables; nothing to leave out below Unicode 8.0.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CHANGED = {
    0x1734: "Mn, Mc since 14.0", 0x1885: "Lo, Mn since 9.0", 0x1886: "Lo, Mn since 9.0", 0xA9BD: "Mc, Mn since 10.0",
    0x111C9: "Po, Mn since 11.0", 0x166D: "Po, So since 12.0", 0x1CF2: "Mc, Lo since 12.0", 0x1CF3: "Mc, Lo since 12.0",
}
GAP = range(0x2B820, 0x2B920)
SPECIAL_BERT = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
WORDS = ("refund my card please I'm don't they're we've he'd it'll CAN'T naïve Straße ΣΊΣΥΦΟΣ İstanbul 退款 查询 订单 한국어 日本語 "
         "カタカナ ｶﾞ ①② ﬁ ㈱ ½ १२३ ไทย עברית العربية हिन्दी ##ing ## [CLS ] <|bos <|endoftext https://a.b/c?d=1&e=%20 "
         "foo.bar@baidu.com 3.14 1,234 '' 's 'S 're' x'll 👩‍💻 👍🏽 🇩🇪 é e\u0301 a\u0323\u0307 \u200b \ufeff \u00ad").split(" ")
SPACES = [" ", "  ", "\t", "\n", "\r\n", "   \n ", "\u3000", "\u00a0", "\u2028", "\u0085", "\u200a", "\x0b", "\x1c", "\u180e"]


def assigned():
    """Code points assigned in Unicode 8.0, without surrogates, NUL and the known differences, by category."""
    script = r'for my $c (1..0x10FFFF) { next if $c >= 0xD800 && $c <= 0xDFFF; print "$c\n" if chr($c) =~ /\p{Present_In: 8.0}/ }'
    lines = subprocess.run(["perl", "-e", script], capture_output=True, text=True, check=True).stdout.split()
    by_category = {}
    for c in map(int, lines):
        if c not in CHANGED and c not in GAP:
            by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
    return by_category


def strings(count, by_category, special, rng):
    """Random strings: each takes a few sources of characters, so that runs of one kind occur."""
    categories = sorted(by_category)
    blocks = {}
    for cps in by_category.values():
        for c in cps:
            blocks.setdefault(c >> 7, []).append(c)
    blocks = [blocks[b] for b in sorted(blocks)]

    def category():
        return by_category[rng.choice(categories)]

    def letters():
        return list(map(ord, "abcdefghijklmnopqrstuvwxyzABCXYZ"))

    out = []
    for _ in range(count):
        pools = [rng.choice((category, letters, lambda: rng.choice(blocks)))() for _ in range(rng.randint(1, 3))]
        parts = []
        for _ in range(rng.randint(0, 24)):
            kind = rng.random()
            if kind < 0.5:
                parts.append("".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randint(1, 6))))
            elif kind < 0.75:
                parts.append(rng.choice(WORDS))
            elif kind < 0.95:
                parts.append(rng.choice(SPACES) if rng.random() < 0.5 else " ")
            else:
                parts.append(rng.choice(special))
        out.append("".join(parts))
    return out


def ours(tool, mode, folder, texts):
    """What the tool prints: lists of ids (modes encode and plain) or texts."""
    data = b"".join(t.encode() + b"\0" for t in texts)
    run = subprocess.run([tool, mode, folder], input=data, capture_output=True)
    if run.returncode != 0:
        sys.exit(run.stderr.decode())
    lines = run.stdout.decode().split("\n")[:-1]
    return [list(map(int, line.split())) if mode in ("encode", "plain") else line for line in lines]


def escaped(texts):
    return [t.replace("\\", "\\\\").replace("\n", "\\n") for t in texts]


class Report:
    def __init__(self):
        self.number = self.failed = 0

    def compare(self, what, texts, got, want):
        self.number += 1
        different = [i for i in range(len(texts)) if got[i] != want[i]]
        if len(got) != len(texts) or different:
            self.failed += 1
        state = "not ok" if len(got) != len(texts) or different else "ok"
        print(f"{state} {self.number} - {what}: {len(texts) - len(different)} of {len(texts)} equal")
        for i in different[:5]:
            print(f"#   {ascii(texts[i])}\n#   ours {got[i]}\n#   HF   {want[i]}")
        sys.stdout.flush()


def bert_folder(folder, texts, lower, vocabulary=None):
    """A directory with vocab.txt and tokenizer_config.json; the vocabulary trained on texts unless given."""
    os.makedirs(folder)
    if vocabulary:
        shutil.copyfile(vocabulary, f"{folder}/vocab.txt")
    else:
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer(lowercase=lower)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.train_from_iterator(texts, trainers.WordPieceTrainer(
            vocab_size=12_000, special_tokens=SPECIAL_BERT, show_progress=False))
        words = sorted(t.get_vocab().items(), key=lambda item: item[1])
        with open(f"{folder}/vocab.txt", "w", encoding="utf-8", newline="\n") as f:
            f.writelines(w + "\n" for w, _ in words)
    with open(f"{folder}/tokenizer_config.json", "w") as f:
        json.dump({"do_lower_case": lower, "model_max_length": 10**30}, f)


def slow_is_fast(text, lower):
    """Is there nothing in a string that BertTokenizer treats in another way than BertTokenizerFast?"""
    clean = "".join(c for c in text if c in "\t\n\r" or unicodedata.category(c)[0] != "C")
    return (all(unicodedata.category(c) != "Cn" for c in text) and not (lower and "Σ" in text)
            and unicodedata.is_normalized("NFC", clean)
            and all(clean.count(s) == text.count(s) for s in SPECIAL_BERT))


def check_written(report, tool, name, folder, texts):
    """The tokenizer.json that we write from a folder's tokenizer gives the folder's ids, there and here."""
    out = f"{folder}-written"
    os.makedirs(out)
    with open(f"{out}/tokenizer.json", "wb") as f:
        subprocess.run([tool, "write", folder], stdout=f, check=True)
    t = Tokenizer.from_file(f"{out}/tokenizer.json")
    for mode, as_text in (("encode", False), ("plain", True)):
        t.encode_special_tokens = as_text
        want = ours(tool, mode, folder, texts)
        got = [e.ids for e in t.encode_batch(texts, add_special_tokens=False)]
        report.compare(f"{name}, written by us, tokenizers, {mode}", texts, got, want)
        report.compare(f"{name}, written by us, {mode}", texts, ours(tool, mode, out, texts), want)


def check_bert(report, tool, folder, texts, lower):
    from transformers import BertTokenizer, BertTokenizerFast
    name = f"WordPiece {'lower-cased' if lower else 'cased'} ({os.path.basename(folder)})"
    fast = BertTokenizerFast.from_pretrained(folder)
    want = fast(texts, add_special_tokens=False)["input_ids"]
    report.compare(f"{name}, BertTokenizerFast", texts, ours(tool, "encode", folder, texts), want)
    decoded = fast.batch_decode(want, clean_up_tokenization_spaces=True)
    report.compare(f"{name}, decoded", texts, ours(tool, "decode", folder, texts), escaped(decoded))
    fast.save_pretrained(f"{folder}-saved")
    report.compare(f"{name}, its saved tokenizer.json", texts, ours(tool, "encode", f"{folder}-saved", texts), want)
    fast.backend_tokenizer.encode_special_tokens = True
    want = [e.ids for e in fast.backend_tokenizer.encode_batch(texts, add_special_tokens=False)]
    report.compare(f"{name}, special tokens as text", texts, ours(tool, "plain", folder, texts), want)

    check_written(report, tool, name, folder, texts)

    slow = BertTokenizer.from_pretrained(folder)
    composed = [t for t in (unicodedata.normalize("NFC", t) for t in texts) if slow_is_fast(t, lower)]
    want = [slow.convert_tokens_to_ids(slow.tokenize(t)) for t in composed]
    report.compare(f"{name}, BertTokenizer, NFC", composed, ours(tool, "encode", folder, composed), want)


def bpe_folder(folder, texts, normalizer, prefix_space):
    """A directory with tokenizer.json of a byte-level BPE trained on texts."""
    os.makedirs(folder)
    t = Tokenizer(models.BPE())
    t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=6_000, special_tokens=["<|bos|>", "<|eos|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.save(f"{folder}/tokenizer.json")


def check_bpe(report, tool, folder, texts):
    name = f"BPE ({os.path.basename(folder)})"
    t = Tokenizer.from_file(f"{folder}/tokenizer.json")
    want = [e.ids for e in t.encode_batch(texts, add_special_tokens=False)]
    report.compare(f"{name}, tokenizers", texts, ours(tool, "encode", folder, texts), want)
    t.encode_special_tokens = True
    want = [e.ids for e in t.encode_batch(texts, add_special_tokens=False)]
    report.compare(f"{name}, special tokens as text", texts, ours(tool, "plain", folder, texts), want)
    t.encode_special_tokens = False
    for mode, skip in (("decode", False), ("skip", True)):
        want = t.decode_batch([t.encode(x, add_special_tokens=False).ids for x in texts], skip_special_tokens=skip)
        report.compare(f"{name}, {mode}", texts, ours(tool, mode, folder, texts), escaped(want))
    check_written(report, tool, name, folder, texts)


def check_gpt2(report, tool, folder, texts):
    """A directory with vocab.json and merges.txt, through both of transformers' classes."""
    from transformers import GPT2Tokenizer, GPT2TokenizerFast
    for space in (False, True):
        with open(f"{folder}/tokenizer_config.json", "w") as f:
            json.dump({"add_prefix_space": space, "model_max_length": 1024}, f)
        got = ours(tool, "encode", folder, texts)
        name = f"BPE ({os.path.basename(folder)}), {'prefix space' if space else 'no prefix space'}"
        fast = GPT2TokenizerFast.from_pretrained(folder)
        report.compare(f"{name}, GPT2TokenizerFast", texts, got, fast(texts)["input_ids"])
        if not space:
            slow = GPT2Tokenizer.from_pretrained(folder)
            report.compare(f"{name}, GPT2Tokenizer", texts, got, [slow(t)["input_ids"] for t in texts])


def check_added(report, tool, folder, texts, rng):
    """Added tokens with every flag that is supported, one the beginning of another, thrown into the strings."""
    t = Tokenizer.from_file(f"{folder}/tokenizer.json")
    t.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<sep>", rstrip=True, normalized=True),
                          AddedToken("<a>")])
    t.add_tokens([AddedToken("<a>b"), AddedToken("Straße", lstrip=True, rstrip=True), AddedToken("ﬁn", normalized=False),
                  AddedToken(" x", normalized=False), AddedToken("CAFÉ"), AddedToken("退款", rstrip=True)])
    content = [a.content for a in t.get_added_tokens_decoder().values()] + ["cafe\u0301", "STRASSE", "<MASK>", "fin"]
    os.makedirs(f"{folder}-added")
    t.save(f"{folder}-added/tokenizer.json")
    mixed = []
    for text in texts:
        at = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(1, 4)))
        pieces = [text[i:j] for i, j in zip([0] + at, at + [len(text)])]
        mixed.append("".join(p + rng.choice(SPACES + [""] * 9) + rng.choice(content) for p in pieces))
    check_bpe(report, tool, f"{folder}-added", mixed)


def main():
    tool = os.path.join(os.environ.get("FSI_TOOLS", "build/tools"), "fsi_tokens")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    by_category = assigned()
    bert = strings(count, by_category, SPECIAL_BERT, random.Random(1))
    gpt2 = strings(count, by_category, ["<|bos|>", "<|eos|>", "<|endoftext|>"], random.Random(2))
    shared = os.environ.get("FSI_SHARED", "../shared")
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        for lower in (False, True):
            case = "lower" if lower else "cased"
            bert_folder(f"{work}/trained-{case}", bert[::2], lower)
            check_bert(report, tool, f"{work}/trained-{case}", bert, lower)
            published = f"{shared}/reference/tokenizer/vocab-21128.txt"
            if os.path.exists(published):
                bert_folder(f"{work}/published-{case}", bert, lower, published)
                check_bert(report, tool, f"{work}/published-{case}", bert, lower)

        bpe_folder(f"{work}/plain", gpt2[::2], None, False)
        check_bpe(report, tool, f"{work}/plain", gpt2)
        check_added(report, tool, f"{work}/plain", gpt2, random.Random(3))
        nfkc = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        bpe_folder(f"{work}/nfkc-lower", gpt2[::2], nfkc, True)
        check_bpe(report, tool, f"{work}/nfkc-lower", gpt2)
        check_added(report, tool, f"{work}/nfkc-lower", gpt2, random.Random(4))
        strip = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()])
        bpe_folder(f"{work}/nfd-strip-nfc", gpt2[::2], strip, False)
        check_bpe(report, tool, f"{work}/nfd-strip-nfc", gpt2)
        folder = f"{work}/files"
        os.makedirs(folder)
        Tokenizer.from_file(f"{work}/plain/tokenizer.json").model.save(folder)
        with open(f"{folder}/vocab.json") as f:
            vocabulary = json.load(f)
        vocabulary["<|endoftext|>"] = len(vocabulary)
        with open(f"{folder}/vocab.json", "w") as f:
            json.dump(vocabulary, f, ensure_ascii=False)
        check_gpt2(report, tool, folder, gpt2)
        if os.path.exists(f"{shared}/reference/models/tiny-gpt2-bpe/merges.txt"):
            folder = f"{work}/real-gpt2"
            os.makedirs(folder)
            for name in ("vocab.json", "merges.txt"):
                shutil.copyfile(f"{shared}/reference/models/tiny-gpt2-bpe/{name}", f"{folder}/{name}")
            check_gpt2(report, tool, folder, gpt2)
    print(f"1..{report.number}")
    return report.failed > 0


if __name__ == "__main__":
    sys.exit(main())
