"""Which public texts the shipped model may learn from, and under what licence: the one place that says so.

Everything is an allow-list: a file that is not named here is never opened for training. The licence strings repeat
what each source states; the model card's table is generated from this file (`card.py`). Three groups stay outside:

* the development group, so that its figures mean something (DEVELOPMENT; their texts are also removed from every
  other source, see texts.py);
* sets whose source says research only, non-commercial or LDC, or whose texts are people's private posts (LEFT_OUT);
* VALIDATION: allowed sets in both languages that training never sees. The readout's few scalars are chosen on them,
  because a user's own intents are unknown to the model in just that way. Twins of a validation set (the same texts
  under other labels, or their translations) are left out of training too.
"""

CC_BY_SA_3, CC_BY_SA_4, CC_BY_4, CC_BY_3 = "CC BY-SA 3.0", "CC BY-SA 4.0", "CC BY 4.0", "CC BY 3.0"
CDLA_1, CDLA_2, APACHE, MIT, NONE = "CDLA-Permissive 1.0", "CDLA-Permissive 2.0", "Apache-2.0", "MIT", "none stated"

# name -> (language of the texts, licence as stated, source)
INTENTS = {
    "askubuntu": ("en", CC_BY_SA_3, "sebischair/NLU-Evaluation-Corpora"),
    "webapplications": ("en", CC_BY_SA_3, "sebischair/NLU-Evaluation-Corpora"),
    "botfw_automotive_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_calendar_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_email_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_general_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_hospitality_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_music_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_todo_en": ("en", MIT, "microsoft/botframework-solutions"),
    "botfw_weather_en": ("en", MIT, "microsoft/botframework-solutions"),
    "clinc150_oos": ("en", CC_BY_3, "clinc/oos-eval"),
    "dstc11_banking": ("en", CDLA_2, "amazon-science/dstc11-track2-intent-induction"),
    "facebook_multilingual_en": ("en", "Apache-2.0 (repository); origin CC BY-SA",
                                 "sz128/slot_filling_and_intent_detection_of_SLU"),
    "mtop_en": ("en", "Apache-2.0 (repository); MTOP CC BY-SA 4.0", "HKUNLP/SymGen"),
    "multidogo_airline": ("en", CDLA_1, "awslabs/multi-domain-goal-oriented-dialogues-dataset"),
    "multidogo_fastfood": ("en", CDLA_1, "awslabs/multi-domain-goal-oriented-dialogues-dataset"),
    "multidogo_finance": ("en", CDLA_1, "awslabs/multi-domain-goal-oriented-dialogues-dataset"),
    "multidogo_insurance": ("en", CDLA_1, "awslabs/multi-domain-goal-oriented-dialogues-dataset"),
    "multidogo_media": ("en", CDLA_1, "awslabs/multi-domain-goal-oriented-dialogues-dataset"),
    "multidogo_software": ("en", CDLA_1, "awslabs/multi-domain-goal-oriented-dialogues-dataset"),
    "personality_chat_en": ("en", MIT, "microsoft/botframework-solutions"),
    "rasa_banking": ("en", APACHE, "RasaHQ/NLU-training-data"),
    "rasa_mood": ("en", APACHE, "RasaHQ/NLU-training-data"),
    "sgd_intent": ("en", CC_BY_SA_4, "google-research-datasets/dstc8-schema-guided-dialogue"),
    "sgd_user_act": ("en", CC_BY_SA_4, "google-research-datasets/dstc8-schema-guided-dialogue"),
    "small_talk": ("en", "none stated (Dialogflow export)", "spzm/dialogflow-smalltack-export"),
    "botfw_calendar_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "botfw_email_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "botfw_general_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "botfw_hospitality_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "botfw_todo_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "botfw_weather_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "crosswoz": ("zh", APACHE, "thu-coai/CrossWOZ"),
    "personality_chat_zh": ("zh", MIT, "microsoft/botframework-solutions"),
    "smp2017_task1": ("zh", NONE, "OnionWang/SMP2019-ECDT-NLU"),
    "smp2019_task1_domain": ("zh", NONE, "OnionWang/SMP2019-ECDT-NLU"),
    "smp2019_task1_intent": ("zh", NONE, "OnionWang/SMP2019-ECDT-NLU"),
    "tnews_dataclue": ("zh", NONE, "CLUEbenchmark/DataCLUE"),
    "tnews_fewclue": ("zh", NONE, "CLUEbenchmark/FewCLUE"),
}

# subsets of qgyd2021/few_shot_intent_sft: the data set card says apache-2.0, the upstream corpora keep their licences
_CARD = "Apache-2.0 (data set card of qgyd2021/few_shot_intent_sft); upstream: "
SEED = {
    "a_intent": ("zh", _CARD + NONE, "qgyd2021/few_shot_intent_sft"),
    "finance21": ("en", _CARD + NONE, "qgyd2021/few_shot_intent_sft"),
    "telemarketing_intent_cn": ("zh", _CARD + NONE, "qgyd2021/few_shot_intent_sft"),
    "telemarketing_intent_en": ("en", _CARD + NONE, "qgyd2021/few_shot_intent_sft"),
    "vira_intents": ("en", _CARD + NONE, "qgyd2021/few_shot_intent_sft"),
}
# other spellings and descriptions of a training set's labels, taken from the same data set card's label lists
SPELLINGS = {"mtop_en": "mtop_intent", "clinc150_oos": "out_of_scope", "small_talk": "small_talk",
             "smp2017_task1": "smp2017_task1", "smp2019_task1_domain": "smp2019_task1_domain",
             "smp2019_task1_intent": "smp2019_task1_intent", "a_intent": "a_intent", "finance21": "finance21",
             "telemarketing_intent_cn": "telemarketing_intent_cn",
             "telemarketing_intent_en": "telemarketing_intent_en", "vira_intents": "vira_intents"}

VALIDATION = {
    "bi_text27": ("en", "CDLA-Sharing 1.0", "bitext/customer-support-intent-detection-training-dataset"),
    "dstc11_insurance": ("en", CDLA_2, "amazon-science/dstc11-track2-intent-induction"),
    "home_assistant_en": ("en", CC_BY_4, "home-assistant/intents"),
    "nlupp_banking": ("en", CC_BY_4, "PolyAI-LDN/task-specific-datasets"),
    "rasa_sara_demo": ("en", "GPL-3.0", "RasaHQ/rasa-demo"),
    "debt_call_zh": ("zh", NONE, "yalong9528/rasa"),
    "home_assistant_zh": ("zh", CC_BY_4, "home-assistant/intents"),
    "insuranceqa_domain_zh": ("zh", "Chunsong Public License 1.0", "chatopera/insuranceqa-corpus-zh"),
    "proslu": ("zh", "GPL-2.0", "LooperXX/ProSLU"),
    "risawoz_domain": ("zh", "BSD-3 (repository); RiSAWOZ CC BY 4.0", "stanford-oval/dialogues"),
}

PAIRS = {  # paraphrase pairs; only those marked as the same meaning are used
    "afqmc_zh": ("zh", NONE, "zejunwang1/CSTS"),
    "xiaobu_bustm_zh": ("zh", NONE, "zejunwang1/CSTS, CLUEbenchmark/FewCLUE"),
    "atec_zh": ("zh", NONE, "IceFlameWorm/NLP_Datasets"),
    "pawsx_zh": ("zh", "PAWS-X: free to use (Google)", "zejunwang1/CSTS"),
}

_STRINGS = "interface strings; the programs' own licences: "
PARALLEL = {  # English and Chinese sides of one sentence
    "tatoeba_manythings": ("CC BY 2.0 (France), tatoeba.org", "Tatoeba pairs"),
    "x_risawoz_fewshot": ("BSD-3 (repository); data terms not stated", "stanford-oval/dialogues"),
    "crosswoz_en_human": (APACHE, "thu-coai/ConvLab-2"),
    "multiwoz_zh_human": (APACHE, "thu-coai/ConvLab-2"),
    "crosswoz_en_mt": ("Apache-2.0; machine translated", "thu-coai/ConvLab-2"),
    "multiwoz_zh_mt": ("Apache-2.0; machine translated", "thu-coai/ConvLab-2"),
    "phrase_lists": ("MIT / none stated", "three small phrase lists"),
    "xsid_alarm_reminder": (CC_BY_SA_4, "mainlp/xsid"),
    "l10n_woocommerce_apps": (_STRINGS + "GPL v2", "WooCommerce apps"),
    "l10n_shops": (_STRINGS + "MIT, BSD-3", "Bagisto, Spree, Sylius, Saleor"),
    "l10n_magento2": (_STRINGS + "MIT", "Magento 2 Chinese language pack"),
    "l10n_opencart": (_STRINGS + "GPL v3", "OpenCart"),
    "l10n_finance": (_STRINGS + "AGPL v3, MIT", "Firefly III, ezBookkeeping, Crater"),
    "l10n_erpnext": (_STRINGS + "GPL v3, MIT", "ERPNext, Frappe"),
    "l10n_odoo14": (_STRINGS + "LGPL v3", "Odoo 14"),
    "l10n_dolibarr": (_STRINGS + "GPL v3", "Dolibarr"),
    "l10n_frappe_apps": (_STRINGS + "GPL v3, AGPL v3", "Frappe HRMS, Helpdesk, CRM, LMS"),
    "l10n_chatwoot": (_STRINGS + "MIT", "Chatwoot"),
    "l10n_smart_home": (_STRINGS + "Apache-2.0, EPL 2.0", "Home Assistant frontend, openHAB"),
    "l10n_android_aosp": (_STRINGS + "Apache-2.0", "Android system apps"),
    "l10n_android_oss": (_STRINGS + "GPL v2/v3, LGPL v3, Apache-2.0", "ten free Android apps"),
    "l10n_nextcloud": (_STRINGS + "AGPL v3", "Nextcloud Calendar, Mail"),
    "l10n_web_apps": (_STRINGS + "GPL v2/v3, AGPL v3, Apache-2.0, MIT", "NodeBB, Jellyfin, Traccar and others"),
    "l10n_chat_security": (_STRINGS + "Apache-2.0, GPL v2/v3", "Mattermost, Zulip, Bitwarden and others"),
}

# name -> (language, licence, source, first lines to use or None). chat_dialogues_en is a concatenation: its first
# 24,000 lines are the Self-dialogue Corpus (BSD-3); Switchboard (LDC origin) and film scripts come later.
CORPORA = {
    "queries_en": ("en", CC_BY_SA_4, "google-research-datasets/query-wellformedness", None),
    "sgd_dialogues_en": ("en", CC_BY_SA_4, "google-research-datasets/dstc8-schema-guided-dialogue", None),
    "chat_dialogues_en": ("en", "BSD-3", "jfainberg/self_dialogue_corpus (that part alone)", 24000),
    "classic_books_en": ("en", "none stated; public-domain books", "mlschmitt/classic-books-markdown", None),
    "factbook_en": ("en", "CC0 / public domain", "factbook/factbook.json", None),
    "lctt_en": ("en", "Apache-2.0 (repository); articles' terms not stated", "LCTT/TranslateProject", None),
    "lctt_zh": ("zh", "Apache-2.0 (repository); articles' terms not stated", "LCTT/TranslateProject", None),
    "zhihu_questions_zh": ("zh", "MIT (repository)", "justjavac/zhihu-trending-hot-questions", None),
    "weibo_hot_titles_zh": ("zh", "MIT (repository)", "justjavac/weibo-trending-hot-search", None),
    "reviews_zh": ("zh", NONE, "SophonPlus/ChineseNlpCorpus", None),
    "dialogues_zh": ("zh", "Apache-2.0 / BSD-3", "KdConv, CrossWOZ, stanford-oval, chatterbot-corpus", None),
    "cmrc_wiki_zh": ("zh", CC_BY_SA_4, "ymcui/cmrc2018", None),
    "niutrans_modern_zh": ("zh", MIT, "NiuTrans/Classical-Modern", None),
}

DEVELOPMENT = ("banking77", "stackoverflow_titles", "dstc11_finance", "kuake_qic", "cais")
DEVELOPMENT_SEED = ("banking77",)
DEVELOPMENT_PAIRS = ("kuake_qqr_zh",)

LEFT_OUT = {  # documented, not read: name -> why
    "atis": "LDC origin", "nps_chat_acts": "research use; private chat", "trec6": "free for research",
    "trec50": "free for research", "carer_emotion / carer": "research and education; private posts",
    "chip_ctc": "CBLUE: research", "thucnews_titles": "THUCNews: research", "emo2019": "private chats, none stated",
    "smp2020_ewect_*": "private posts, none stated", "suicide_intent": "private posts about health",
    "bi_text11": "the texts of validation set bi_text27", "insuranceqa_domain_en": "twin of a validation set",
    "nlupp_hotels": "sister of a validation set", "risawoz_act": "the texts of validation set risawoz_domain",
    "ri_sawoz_general": "sister of a validation set", "hass_intents_tests": "translations of validation sets",
    "star_wars, chatbots, chatbot_transport, botfw_phone_en, botfw_music_zh, rasa_weather": "very small",
    "crosswoz (seed)": "three labels", "jarvis_intent": "part of clinc150_oos",
    "snips_built_in_intents": "kept for the final examination",
    "lcqmc_zh": "research use", "bq_zh": "its authors ask for an application", "atec_ccks_zh": "part of it is bq_zh",
    "chip_sts_zh": "CBLUE: research", "stsb_zh, stsb_multi_mt": "each text source has its own terms, some research",
    "msr_para_en": "research licence", "sts_sick_en": "CC BY-NC-SA in part", "nltk_texts_en": "research",
    "short_texts_en, short_texts_zh": "mixed, in part academic use or CC BY-NC, not separable",
    "alpaca_zh": "CC BY-NC 4.0 origin", "abstracts_apps_zh": "contains CBLUE text (research)",
}
