"""Chinese (and English) names of our own for labels of the Chinese training sets, most of which have only English ones.

A user's Chinese intents have Chinese names; without these, half of the Chinese episodes would teach only English names.
Applied when the corpus is loaded; labels that mean nothing (JUNK) are dropped there too.
"""
JUNK = {"none", "oos", "nan", "default"}

_CALENDAR = {
    "check availability": "查询空闲时间 有没有空", "find meeting room": "找会议室 预订会议室", "delete calendar entry": "删除日程 取消会议",
    "contact meeting attendees": "联系参会人", "find calendar where": "会议地点 在哪里开会", "find calendar when": "会议时间 什么时候开会",
    "create calendar entry": "新建日程 创建会议", "find calendar detail": "日程详情", "find calendar who": "和谁开会 参会人员",
    "change calendar entry": "修改日程 调整会议时间", "find duration": "会议时长 要开多久", "accept event entry": "接受邀请",
    "next meeting": "下一个会议", "connect to meeting": "加入会议 接入会议", "time remaining": "还剩多少时间 倒计时",
    "find calendar entry": "查看日程 查询会议", "add calendar entry attribute": "补充日程信息", "show next calendar": "显示后面的日程",
    "show previous calendar": "显示前面的日程", "no location": "没有地点"}
_GENERAL = {
    "reject": "拒绝", "confirm": "确认", "confirm yes": "确认 是的", "confirm no": "否认 不是", "go back": "返回",
    "show previous": "显示上一页", "show next": "显示下一页", "show previous page": "上一页", "show next page": "下一页",
    "cancel": "取消", "summary": "摘要 总结", "read aloud": "朗读 念出来", "help": "帮助 求助", "goodbye": "告别 再见",
    "repeat": "重复 再说一遍", "select item": "选择一项", "select any": "随便选一个", "select none": "都不要", "stop": "停止",
    "previous": "上一个", "next": "下一个", "greeting": "问候 打招呼", "finish task": "完成任务", "start over": "重新开始",
    "restart": "重启 重来", "logout": "退出登录 注销", "escalate": "转人工 人工客服", "extract name": "说名字"}
_EMAIL = {
    "search messages": "搜索邮件 查找邮件", "add flag": "标记邮件", "reply": "回复", "send email": "发送邮件 写邮件", "forward": "转发",
    "check messages": "查看邮件 检查新邮件", "add more": "补充内容", "query last text": "查询上一封", "cancel messages": "取消邮件",
    "delete": "删除", "confirm messages": "确认邮件"}
_HOTEL = {
    "get reservation details": "查询预订信息", "check out": "退房", "room service": "客房服务 送餐", "extend stay": "续住 延长入住",
    "late check out": "延迟退房", "request item": "索要物品"}
_TODO = {
    "mark to do": "完成待办 标记待办", "add to do": "添加待办 新建任务", "delete to do": "删除待办", "show to do": "查看待办 任务清单"}
_WEATHER = {
    "check weather time": "什么时候天气变化", "query weather": "查询天气", "check weather value": "查询气温湿度", "get forecast": "天气预报",
    "get weather advisory": "天气预警 天气建议", "change temperature unit": "更换温度单位"}
_ASSISTANT = {
    "app": "应用 打开应用", "bus": "公交 汽车票", "calc": "计算 计算器", "chat": "闲聊", "cinemas": "影院 电影票", "contacts": "联系人 通讯录",
    "cookbook": "菜谱 做菜", "datetime": "日期时间 几月几号", "email": "邮件 电子邮件", "epg": "节目单 电视节目", "flight": "航班 机票",
    "health": "健康 医疗健康", "lottery": "彩票", "map": "地图 导航", "match": "比赛 体育赛事", "message": "短信 发信息", "music": "音乐 听歌",
    "news": "新闻", "novel": "小说", "poetry": "诗词 古诗", "radio": "广播 电台", "riddle": "谜语 猜谜", "schedule": "日程 提醒",
    "stock": "股票", "telephone": "电话 打电话", "train": "火车 火车票", "translation": "翻译", "tvchannel": "电视频道 换台",
    "video": "视频 影视", "weather": "天气", "website": "网站 打开网页"}
_ACTIONS = {
    "launch": "启动 打开应用", "query": "查询", "route": "路线 怎么走", "sendcontacts": "发送联系人", "send": "发送", "reply": "回复",
    "replay all": "回复全部", "look back": "回看", "number query": "号码查询", "position": "位置 在哪里", "play": "播放", "dial": "拨号 打电话",
    "translation": "翻译", "open": "打开", "download": "下载", "search": "搜索", "create": "创建 新建", "forward": "转发",
    "riserate query": "涨跌幅查询", "closeprice query": "收盘价查询"}
_TOPICS = {
    "文化": "culture", "汽车": "cars", "故事": "stories", "国际": "world news", "教育": "education", "娱乐": "entertainment", "农业":
    "agriculture", "财经": "finance", "科技": "technology", "军事": "military", "旅游": "travel", "股票": "stocks", "电竞": "e-sports games",
    "体育": "sports", "房产": "real estate"}
_WOZ = {
    "Request 景点": "问景点", "Request 酒店": "问酒店", "Request 餐馆": "问餐馆", "general thank": "感谢", "Inform 酒店": "说酒店要求",
    "Inform 景点": "说景点要求", "Inform 餐馆": "说餐馆要求"}
_SPEAKER = {
    "travel query": "出行查询 查车票机票", "music play": "放音乐 播放歌曲", "film tele play": "看电影 看电视剧", "video play": "看视频",
    "radio listen": "听广播 收听电台", "home appliance control": "家电控制 控制家电", "weather query": "查天气 天气查询",
    "alarm update": "闹钟 设置提醒", "calendar query": "查日历", "tvprogram play": "看电视节目", "audio play": "有声书 听书"}

NAMES = {
    "botfw_calendar_zh": {**_CALENDAR, **_GENERAL}, "botfw_email_zh": {**_EMAIL, **_GENERAL}, "botfw_general_zh": _GENERAL,
    "botfw_hospitality_zh": _HOTEL, "botfw_todo_zh": {**_TODO, **_GENERAL}, "botfw_weather_zh": _WEATHER,
    "smp2017_task1": _ASSISTANT, "smp2019_task1_domain": _ASSISTANT, "smp2019_task1_intent": _ACTIONS, "crosswoz": _WOZ,
    "a_intent": _SPEAKER}
ENGLISH = {"tnews_dataclue": _TOPICS, "tnews_fewclue": _TOPICS}


def add(corpus):
    """Add our names to a loaded corpus and drop labels without a meaning."""
    for name, s in corpus["sets"].items():
        s["labels"] = {k: v for k, v in s["labels"].items() if k not in JUNK}
        for label in s["labels"]:
            ours = NAMES.get(name, {}).get(label, "").split()
            if name in ENGLISH and label in ENGLISH[name]:
                ours = [ENGLISH[name][label]]
            if ours:
                s["names"][label] = sorted(set(s["names"].get(label, []) + ours))
    return corpus
