"""The messages of workload S, half English and half Chinese, each text once.

Real ones where the folder with reference data is there (FSI_SHARED, intents/*.test.jsonl). Else they are composed here:
clauses of a support desk, put together until a message has a length drawn from the distribution of the real ones (English
8 words in the middle, 20 for one in twenty; Chinese 19 characters and 60). Both with a fixed seed.
"""
import glob
import json
import random

SEED = 20261125

EN = {
    "open": ["hi", "hello there", "good morning", "sorry to bother you", "quick question", "hey team", "urgent please"],
    "ask": ["where is my {thing}", "I want to return the {thing}", "please cancel the {thing}", "how do I change the {thing}",
            "can you send the {thing} again", "the {thing} has not arrived", "the {thing} arrived damaged",
            "you charged me twice for the {thing}", "is the {thing} still under warranty", "I never ordered this {thing}",
            "my {thing} does not work", "can I swap the {thing} for another size", "what does the {thing} cost abroad"],
    "thing": ["parcel", "blue jacket", "invoice", "gift card", "subscription", "delivery address", "phone case", "order",
              "refund", "second pair of shoes", "coffee machine", "discount code", "account password", "monthly plan"],
    "more": ["it was due on {day}", "I paid with my credit card on {day}", "the tracking page says in transit",
             "I already wrote to you on {day}", "nobody answered the phone", "the box was open when it came",
             "my order number is {number}", "the app shows error {number}", "I need it before {day}",
             "this is the third time it happens", "the shop in town could not help either", "I attached two pictures",
             "the button stays grey whatever I do", "please tell me what to do next"],
    "close": ["thanks", "thank you very much", "please reply soon", "kind regards", "this is really annoying"],
    "day": ["Monday", "last Tuesday", "the 14th of March", "Friday evening", "yesterday", "Christmas"],
}
ZH = {
    "open": ["你好", "您好", "请问", "麻烦问一下", "在吗", "急"],
    "ask": ["我的{thing}到哪了", "我想退{thing}", "帮我取消{thing}", "怎么修改{thing}", "{thing}一直没收到", "{thing}收到时已经坏了",
            "{thing}为什么扣了两次钱", "{thing}还在保修期吗", "能重新发一份{thing}吗", "{thing}不能用", "{thing}可以换个尺码吗"],
    "thing": ["快递", "蓝色外套", "发票", "礼品卡", "会员", "收货地址", "手机壳", "订单", "退款", "咖啡机", "优惠码", "登录密码", "套餐"],
    "more": ["本来说{day}送到", "我{day}已经付过款了", "物流显示运输中", "之前联系过客服没人回", "打电话一直占线", "箱子打开过",
             "订单号是{number}", "页面提示错误{number}", "{day}之前要用", "这已经是第三次了", "附上两张照片", "按钮一直是灰色的",
             "门店也解决不了", "请告诉我下一步怎么办"],
    "close": ["谢谢", "麻烦尽快回复", "辛苦了", "真的很着急", "非常感谢"],
    "day": ["周一", "上周二", "三月十四号", "周五晚上", "昨天", "春节"],
}


def compose(r, phrases, length, size, joints, space):
    """One message of about `length` units, which `size` counts."""
    def clause(kind):
        text = r.choice(phrases[kind])
        return (text.replace("{thing}", r.choice(phrases["thing"])).replace("{day}", r.choice(phrases["day"]))
                .replace("{number}", str(r.randrange(1000, 10 ** r.randint(4, 8)))))
    text = clause("ask")
    if length > size(text) and r.random() < 0.4:
        text = clause("open") + r.choice(joints) + space + text
    while size(text) < length:
        text += r.choice(joints) + space + clause(r.choice(("more", "more", "ask", "close")))
    unit = text.split(" ") if space else list(text)
    return (" " if space else "").join(unit[:max(1, length)])


def composed(n):
    r = random.Random(SEED)
    out, seen = [], set()
    for i in range(n):
        while True:
            if i % 2 == 0:
                length = min(300, max(1, round(r.lognormvariate(2.05, 0.6))))
                item = ("en", compose(r, EN, length, lambda t: t.count(" ") + 1, (".", ",", "!", "?", " -"), " "))
            else:
                length = min(480, max(2, round(r.lognormvariate(2.95, 0.7))))
                item = ("zh", compose(r, ZH, length, len, "，。！？", ""))
            if item[1] not in seen:
                break
            # The short ones run out: there is a number in nearly every real message that repeats.
            item = (item[0], f"{item[1]} {r.randrange(10 ** 6)}")
            if item[1] not in seen:
                break
        seen.add(item[1])
        out.append(item)
    return out


def real(folder, n):
    texts = {"en": set(), "zh": set()}
    for path in sorted(glob.glob(f"{folder}/data/intents/*.test.jsonl") + glob.glob(f"{folder}/intents/*.test.jsonl")):
        with open(path, encoding="utf8") as f:
            for line in f:
                d = json.loads(line)
                if d["lang"] in texts and "\0" not in d["text"]:
                    texts[d["lang"]].add(d["text"])
    r = random.Random(SEED)
    half = n // 2
    if min(map(len, texts.values())) < half:
        return None
    en, zh = (r.sample(sorted(texts[lang]), half) for lang in ("en", "zh"))
    return [item for pair in zip((("en", t) for t in en), (("zh", t) for t in zh)) for item in pair]


def messages(folder, n):
    """([(lang, text)], where they are from): n messages, English and Chinese in turn."""
    found = real(folder, n) if folder else None
    if found:
        return found, "real messages (intents/*.test.jsonl of the reference data), each text once"
    return composed(n), "messages composed by test/bench/messages.py (no reference data here)"
