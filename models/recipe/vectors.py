"""Test vectors for the C engine: token ids, pooled vectors, spelling features and complete scores of fixed texts.

Vectors come from weights rounded to int8 and scaled back (quant.round_weights) with float activations, so that an
engine with the same rounding of weights agrees within 1e-4; an engine that also rounds activations does not.
"""
import copy
import json

import torch

import batches
import quant
import readout
import table

TEXTS = [
    "", " ", "   \t ", "a", "?", "!!!", "…", "0", "12345", "ok", "OK", "Hello", "hello", " hello ", "hello,  world",
    "Where is my parcel?", "My card was charged twice, please refund me.", "I can't log in to my account",
    "reset_password", "reset password", "card arrival", "cancel my subscription NOW", "Order #48213-B hasn't shipped",
    "What's the exchange rate from USD to EUR?", "book a table for four at 7:30 pm tomorrow",
    "The app crashes with error 0x80070057 after the update", "e-mail: who pays for the return shipping?",
    "naïve café, façade, Ångström", "STRASSE straße", "ﬁnd the oﬃce", "ＦＵＬＬ　ＷＩＤＴＨ　１２３", "①②③ ½ km²",
    "İstanbul'da hava nasıl?", "ΟΔΟΣ οδός", "привет, как дела?", "مرحبا", "नमस्ते", "สวัสดี", "한국어 문장", "ひらがなとカタカナ",
    "我想退款", "我的快递到哪里了？", "信用卡账单什么时候出", "帮我查一下明天北京的天气", "怎么修改登录密码", "请给我转人工客服",
    "播放周杰伦的歌", "订单号20231105还没有发货", "你好", "谢谢，再见！", "退货退款", "重置密码", "Wi-Fi连不上怎么办", "app打不开",
    "我要投诉:客服態度很差!!!", "高血压患者能不能喝咖啡", "🙂", "👍👍🏽 great", "👨‍👩‍👧‍👦 家庭套餐", "good 🙂 不错",
    "<|bos|> is only text here <|eos|>", "line one\nline two\r\nline three", "tab\tseparated\u00a0no-break\u2003em",
    "zero\u200bwidth\ufeff", "e\u0301 and é", "a" * 80, "哈" * 60,
    "I bought the grey jacket in size M two weeks ago, the parcel came yesterday but the zip is broken and there is a "
    "stain on the left sleeve, so I would like to send it back and get either a new one or my money.",
    "我上个月在你们店里买了一台洗衣机，用了不到两个星期就开始漏水，打电话给售后一直没有人接，请问现在能不能上门维修，或者直接给我换一台新的？",
    " ".join(["please read the whole of this long message before you answer"] * 60),
]
SPELLED = [0, 1, 4, 13, 18, 22, 27, 30, 31, 40, 47, 52, 58, 62, 65]  # texts whose spelling features are listed

EPISODES = [
    {"text": "my parcel still hasn't come", "other": False, "candidates": [
        {"name": "track order"}, {"name": "refund"}, {"name": "change address"}]},
    {"text": "钱什么时候退给我", "other": True, "candidates": [
        {"name": "退款进度", "examples": ["退款多久到账", "我的退款呢"]}, {"name": "催发货", "examples": ["怎么还不发货"]},
        {"name": "开发票"}]},
    {"text": "the screen stays black", "other": True, "candidates": [
        {"name": "hardware", "descriptions": ["something is broken in the device itself"]},
        {"name": "billing", "descriptions": ["money, invoices and payments", "a charge the customer does not know"]},
        {"name": "login", "descriptions": ["passwords and access"]}]},
    {"text": "no picture since this morning", "other": True, "candidates": [
        {"name": "hardware", "descriptions": ["something is broken in the device itself"], "examples": ["the screen stays black"]},
        {"name": "billing", "descriptions": ["money, invoices and payments"]},
        {"name": "login", "descriptions": ["passwords and access"], "examples": ["forgot my password", "locked out"]}]},
    {"text": "把空调调到26度", "other": False, "candidates": [
        {"name": "control device", "examples": ["turn on the lamp", "打开客厅的灯"]},
        {"name": "weather", "examples": ["明天会下雨吗"]}, {"name": "play music", "examples": ["放一首歌", "play some jazz"]}]},
    {"text": "", "other": True, "candidates": [{"name": "a"}, {"name": "b", "examples": ["b"]}]},
]


def segments_of(candidate):
    yield candidate["name"], readout.NAME
    for key, kind in (("descriptions", readout.DESCRIPTION), ("examples", readout.EXAMPLE)):
        for t in candidate.get(key, ()):
            yield t, kind


def apart(e, zm, embed, head, scalars):
    """The message's product with each candidate's direction."""
    texts = [t for c in e["candidates"] for t, _ in segments_of(c)]
    unit = lambda z, m: torch.nn.functional.normalize(z @ m, dim=-1).numpy()
    row = {t: i for i, t in enumerate(texts)}
    return table.apart(unit(zm, head.q)[0], e["candidates"], row, unit(embed(texts), head.k), scalars["discriminant_ridge"])


def episode_scores(e, embed, head, spelling, scalars):
    """Sims and logits of each candidate, and the softmax (with `other` last where it is asked for)."""
    zm = embed([e["text"]])
    logits, sims = [], []
    for c, f in zip(e["candidates"], apart(e, zm, embed, head, scalars)):
        texts, kinds = zip(*segments_of(c))
        meaning = head.meaning(zm, embed(list(texts)))[0].tolist()
        s = [m + scalars["spelling_weight"] * spelling.cosine(e["text"], t) for m, t in zip(meaning, texts)]
        sims.append(s)
        logits.append(readout.mix(s, kinds, scalars, scalars["discriminant_share"] * f))
    if e["other"]:
        logits.append(readout.other(logits, scalars))
    return sims, logits, torch.softmax(torch.tensor(logits, dtype=torch.float64), 0).tolist()


@torch.no_grad()
def write(path, student, head, spelling, scalars, tokenizer):
    student = quant.round_weights(copy.deepcopy(student)).eval()
    embed = batches.Embedder(student, tokenizer, limit=batches.LONG_TOKENS, chunk=1)
    texts = []
    for i, text in enumerate(TEXTS):
        ids, _ = batches.encode(tokenizer, [text], batches.LONG_TOKENS)
        row = {"text": text, "ids": ids[0].tolist(), "z": [round(x, 7) for x in embed([text])[0].tolist()]}
        if i in SPELLED:
            row["spelling"] = [[b, round(x, 8)] for b, x in spelling.vector(text).items()]
        texts.append(row)
    episodes = []
    for e in EPISODES:
        sims, logits, scores = episode_scores(e, embed, head, spelling, scalars)
        episodes.append({**e, "sims": sims, "logits": logits, "scores": scores})
    with open(path, "w", encoding="utf8") as f:
        json.dump({"about": "pooled unit vectors z before Q and K; weights rounded to int8, activations float",
                   "texts": texts, "episodes": episodes}, f, ensure_ascii=False)
