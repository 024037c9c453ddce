//! What the pages say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Language, PageId};

/// Texts by key, in one language.
pub(super) type Texts = BTreeMap<&'static str, &'static str>;

/// By key, in the order of [`Language::OFFERED`]. `{}` is put in by the script; `code_*` are the refusals of the protocol.
type Table = &'static [(&'static str, [&'static str; 2])];

/// What a page says.
pub(super) fn texts(page: PageId, language: Language) -> &'static Texts {
    &of(page, language).texts
}

/// The same as JSON. The script reads it from an attribute: escaped there by the template, so that no text can end it.
pub(super) fn texts_json(page: PageId, language: Language) -> &'static str {
    &of(page, language).json
}

/// The tables of a page: what a later one says goes before an earlier one.
pub(super) fn tables(page: PageId) -> &'static [Table] {
    match page {
        PageId::Vote => &[COMMON, VOTE],
        PageId::Index => &[COMMON, INDEX],
        PageId::Chat => &[COMMON, TALK, CHAT],
        PageId::Group => &[COMMON, TALK, GROUP],
        PageId::Table => &[COMMON, TABLE],
        PageId::TableSocketIo => &[COMMON, TABLE, TABLE_SOCKET_IO],
    }
}

struct Said {
    texts: Texts,
    json: String,
}

fn of(page: PageId, language: Language) -> &'static Said {
    let index = PageId::ALL.iter().position(|known| *known == page).expect("ALL has all of them");
    &SAID[index * Language::OFFERED.len() + language.index()]
}

/// Made once: by page, and in it by language.
static SAID: LazyLock<Vec<Said>> = LazyLock::new(|| {
    let said = |page: PageId, language: usize| {
        let rows = tables(page).iter().flat_map(|table| table.iter());
        let texts: Texts = rows.map(|(key, texts)| (*key, texts[language])).collect();
        let json = serde_json::to_string(&texts).expect("texts by texts are JSON");
        Said { texts, json }
    };
    PageId::ALL
        .iter()
        .flat_map(|page| (0..Language::OFFERED.len()).map(move |language| said(*page, language)))
        .collect()
});

const COMMON: Table = &[
    ("pages", ["Pages", "页面"]),
    ("home", ["Tallycast: all pages", "Tallycast：全部页面"]),
    ("connecting", ["Connecting", "正在连接"]),
    ("live", ["Live", "已连接"]),
    ("waiting", ["Reconnecting", "正在重连"]),
    ("offline", ["Offline", "网络已断开"]),
    ("in_seconds", ["in {} s", "{} 秒后重试"]),
    ("now", ["Now", "马上重试"]),
    ("elsewhere", ["From a terminal", "在终端里试试"]),
    ("address", ["http://HOST:PORT", "http://主机:端口"]),
    (
        "needs_script",
        [
            "This page needs JavaScript. Without it, a terminal will do: the command is below.",
            "本页需要启用 JavaScript。不启用的话，也可以用下面的命令在终端里操作。",
        ],
    ),
    ("your_name", ["Your name", "你的名字"]),
    ("you_are", ["You are", "你是"]),
    ("change", ["Change", "改名"]),
    ("name_empty", ["Please enter a name.", "请填写名字。"]),
    ("name_long", ["This name is too long.", "这个名字太长了。"]),
    ("name_wrong", ["This name cannot be used.", "这个名字不能用。"]),
    ("people_here", ["Here now", "在场的人"]),
    ("you", ["you", "你"]),
    ("listener", ["listening", "个连接"]),
    ("listeners", ["listening", "个连接"]),
    ("code_unsent", ["there is no connection.", "连接已断开。"]),
    ("code_crowded", ["too much is on its way. Try again in a moment.", "还有内容正在发送，请稍后再试。"]),
    ("code_unknown", ["the connection broke; it may or may not have arrived.", "连接中断，不确定是否送达。"]),
    ("code_malformed", ["the server could not read it.", "服务器无法识别。"]),
    ("code_too_long", ["it is too long.", "内容太长。"]),
    ("code_read_only", ["this is not allowed from here.", "此处不允许这样做。"]),
    ("code_full", ["the server is full.", "服务器已满。"]),
    ("code_busy", ["the server is busy. Try again in a moment.", "服务器繁忙，请稍后再试。"]),
    ("code_failed", ["the channel failed and begins anew.", "频道出现故障，已重新开始。"]),
    ("code_not_found", ["this channel does not exist any more.", "该频道已不存在。"]),
];

const VOTE: Table = &[
    ("tab", ["Vote", "投票"]),
    ("title", ["Cast your vote", "投票"]),
    ("about", ["Tap a candidate: the tally moves in every window.", "点选候选项，每个窗口的票数同时变化。"]),
    ("heading", ["Cast your vote.", "请投一票"]),
    (
        "intro",
        [
            "Tap a candidate. Everyone who is watching sees the mark at once.",
            "点选候选项，所有在看的人立刻就能看到这一笔。",
        ],
    ),
    ("candidates", ["Candidates", "候选项"]),
    ("vote_for", ["Vote for", "投给"]),
    ("vote", ["vote", "票"]),
    ("votes", ["votes", "票"]),
    ("listener", ["watching now", "人正在看"]),
    ("listeners", ["watching now", "人正在看"]),
    ("leads", ["Leading", "领先"]),
    ("tied", ["Tied", "并列"]),
    ("yours", ["Yours", "你投的"]),
    ("counted", ["Your vote for {} is counted.", "已计入：你投给了{}。"]),
    ("refused", ["Not counted: {}", "未计入：{}"]),
    (
        "unsent",
        ["Not sent: there is no connection. Vote again when it is back.", "未发送：连接已断开。恢复后请再投一次。"],
    ),
    (
        "unknown",
        [
            "The connection broke: your vote for {} may or may not be counted.",
            "连接中断：你投给{}的这一票是否计入，尚不清楚。",
        ],
    ),
    ("crowded", ["Not sent: your earlier votes are still on their way.", "未发送：之前的投票还在途中。"]),
    ("announce_lead", ["{} leads.", "{}领先。"]),
    ("announce_tie", ["There is a tie for the lead.", "目前并列领先。"]),
    ("code_unknown_option", ["there is no such candidate.", "没有这个候选项。"]),
    ("code_read_only", ["voting is not allowed from here.", "此处不允许投票。"]),
    ("code_wrong_type", ["this channel takes no votes.", "该频道不接受投票。"]),
    ("code_failed", ["the vote failed and begins anew.", "投票出现故障，已重新开始。"]),
    ("code_not_found", ["this vote does not exist any more.", "该投票已不存在。"]),
    (
        "without_script",
        [
            "Without JavaScript this page reloads itself every two seconds; the answer to a vote appears here:",
            "未启用 JavaScript：页面每两秒自动刷新，投票结果显示在下面：",
        ],
    ),
    ("answer", ["Answer to your vote", "投票结果"]),
    ("elsewhere", ["From a terminal", "在终端里投票"]),
];

const INDEX: Table = &[
    ("tab", ["Index", "首页"]),
    ("title", ["What runs here", "这里有什么"]),
    ("about", ["All pages of this server.", "本服务器的全部页面。"]),
    ("heading", ["Everyone sees it at once.", "一处落笔，处处即见"]),
    (
        "intro",
        [
            "Votes, messages and edits reach everyone who is listening, the moment they happen. Open a page in two windows and watch.",
            "投票、消息和修改，一发生就推送给所有在听的人。把任一页面开两个窗口，一试便知。",
        ],
    ),
    ("open", ["Open", "打开"]),
    ("listen_about", ["Listen to a channel", "收听一个频道"]),
    ("state_about", ["Its present state", "查看当前状态"]),
    ("members_about", ["Who is listening", "看看谁在听"]),
    (
        "terminal_intro",
        [
            "Every channel has one URL, for browsers and programs alike: WebSocket, Server-Sent Events, long-polling, GET and POST.",
            "每个频道只有一个网址，浏览器和程序通用：WebSocket、Server-Sent Events、长轮询、GET 与 POST。",
        ],
    ),
];

/// Of both kinds of chat.
const TALK: Table = &[
    ("message", ["Message", "消息"]),
    ("messages", ["Messages", "消息记录"]),
    ("write", ["Write a message", "写点什么"]),
    ("send", ["Send", "发送"]),
    ("sending", ["Sending", "发送中"]),
    ("not_sent", ["Not sent: {}", "未发送：{}"]),
    ("unsure", ["The connection broke: it may or may not have arrived.", "连接中断，不确定是否送达。"]),
    ("retry", ["Try again", "重试"]),
    ("newer", ["New messages", "有新消息"]),
    ("unsent", ["Not sent: there is no connection.", "未发送：连接已断开。"]),
    ("nobody", ["Somebody", "匿名"]),
    ("binary", ["[binary data, {} bytes]", "［二进制数据，{} 字节］"]),
];

const CHAT: Table = &[
    ("tab", ["Chat", "私聊"]),
    ("title", ["One-to-one chat", "私聊"]),
    ("about", ["Write to somebody by name: it goes to them alone.", "按名字发消息，只发给对方。"]),
    ("heading", ["Between you two.", "两个人的悄悄话"]),
    (
        "intro",
        [
            "Choose a name, and anybody who knows it can write to you. In a second window, be somebody else.",
            "取个名字，知道它的人就能给你发消息。再开一个窗口，换个名字，自己和自己聊聊。",
        ],
    ),
    ("start", ["Begin", "开始"]),
    ("peers", ["Conversations", "对话"]),
    ("write_to", ["Write to", "发给谁"]),
    ("open", ["Open", "打开"]),
    (
        "no_peers",
        [
            "No conversations yet. Enter a name above, or wait for a message.",
            "还没有对话。在上面填个名字，或者等别人来找你。",
        ],
    ),
    ("name_first", ["First, a name.", "先取个名字"]),
    ("name_more", ["Then you can write, and be written to.", "然后就能发消息、收消息了。"]),
    ("choose", ["Choose a conversation.", "选一个对话吧"]),
    ("choose_more", ["Or enter a name and be the first to write.", "也可以填个名字，先打个招呼。"]),
    ("back", ["Back to the conversations", "返回对话列表"]),
    ("unread", ["{} unread", "{} 条未读"]),
    ("first_word", ["Nothing has been said yet.", "还没有消息，说点什么吧。"]),
    ("wrote", ["{} writes: {}", "{}说：{}"]),
    ("code_absent", ["{} is not here at the moment.", "{}现在不在。"]),
    ("code_unknown_user", ["there is nobody of this name.", "没有叫这个名字的人。"]),
];

const GROUP: Table = &[
    ("tab", ["Group", "群聊"]),
    ("title", ["Group chat", "群聊"]),
    ("about", ["One room for all; you see who comes and goes.", "大家同在一个房间，谁来谁走一目了然。"]),
    ("heading", ["One room for all.", "大家一起聊"]),
    (
        "intro",
        [
            "What you write, everybody here reads at once; who comes late reads what was said before.",
            "你写的话，在场的人立刻就能看到；晚来的人也能读到之前的消息。",
        ],
    ),
    ("start", ["Join", "加入"]),
    ("name_ask", ["Choose a name to join the talk.", "取个名字，加入聊天。"]),
    ("nobody_here", ["Nobody who has a name.", "还没有人报上名字。"]),
    ("joined", ["{} joined", "{} 来了"]),
    ("left", ["{} left", "{} 走了"]),
    ("first_word", ["Nothing has been said yet.", "还没有消息，说点什么吧。"]),
];

const TABLE: Table = &[
    ("tab", ["Table", "表格"]),
    ("title", ["Shared table", "共享表格"]),
    (
        "about",
        [
            "Edit together: you see where the others are, and nothing is overwritten unseen.",
            "一起编辑：看得到别人在改哪一格，谁也不会悄悄覆盖谁。",
        ],
    ),
    ("heading", ["One table, many hands.", "一张表格，众人执笔"]),
    (
        "intro",
        [
            "Click a cell and write. The others see where you are; a cell that changed meanwhile is never overwritten unseen.",
            "点一格就能写。别人看得到你在改哪里；若这一格已被别人改过，绝不会悄悄覆盖。",
        ],
    ),
    ("start", ["OK", "确定"]),
    ("name_ask", ["So that the others see who is writing.", "让别人知道是谁在写。"]),
    ("nobody_here", ["Nobody who has a name.", "还没有人报上名字。"]),
    ("nobody", ["Somebody", "有人"]),
    ("cell", ["{}, {}", "{}，{}"]),
    ("row", ["Row {}", "第 {} 行"]),
    ("tools", ["Row: {}", "行：{}"]),
    ("row_up", ["Move up", "上移"]),
    ("row_down", ["Move down", "下移"]),
    ("row_insert", ["Insert a row below", "在下方插入一行"]),
    ("row_delete", ["Delete this row", "删除这一行"]),
    ("row_add", ["Add a row", "添加一行"]),
    ("no_rows", ["The table has no rows.", "表格里还没有内容。"]),
    (
        "keys",
        [
            "Enter: save and go down · Tab: next cell · Esc: cancel · ↑ ↓: other rows",
            "Enter 保存并下移 · Tab 下一格 · Esc 取消 · ↑ ↓ 换行",
        ],
    ),
    ("deleted", ["The row is deleted.", "已删除一行。"]),
    ("undo", ["Undo", "撤销"]),
    ("conflict", ["{} wrote here meanwhile.", "{}刚刚改了这一格。"]),
    ("theirs", ["Theirs", "对方的"]),
    ("mine", ["Yours", "你的"]),
    ("keep_theirs", ["Keep theirs", "保留对方的"]),
    ("write_mine", ["Write mine", "改成我的"]),
    ("empty", ["(empty)", "（空）"]),
    ("unsaved", ["Not saved yet: it will be when the connection is back.", "尚未保存，连接恢复后会自动保存。"]),
    ("refused", ["Not saved: {}", "未保存：{}"]),
    ("gone", ["Not saved: the row is gone. You wrote: {}", "未保存：这一行已被删除。你写的是：{}"]),
    ("changed", ["{}: {}, {}", "{}：{}，{}"]),
    (
        "says_stale",
        ["Not saved: {} wrote here meanwhile. Choose below the row.", "未保存：{}刚刚改了这一格，请在该行下方选择。"],
    ),
    ("code_unknown_row", ["this row is gone.", "这一行已被删除。"]),
    ("code_unknown_column", ["this column is gone.", "这一列已不存在。"]),
    ("code_row_exists", ["there is such a row already.", "已经有这一行了。"]),
];

const TABLE_SOCKET_IO: Table = &[
    ("tab", ["Table · Socket.IO", "表格 · Socket.IO"]),
    ("title", ["The same table, by Socket.IO", "同一张表格，走 Socket.IO"]),
    (
        "about",
        [
            "The official Socket.IO client, its bundle from this server, on the same table.",
            "用官方 Socket.IO 客户端（由本服务器提供）打开同一张表格。",
        ],
    ),
    ("heading", ["The same table, by Socket.IO.", "同一张表格，走 Socket.IO"]),
    (
        "intro",
        [
            "This page speaks through the official Socket.IO client. Open the other table page beside it: both are one table.",
            "本页通过官方 Socket.IO 客户端收发。把另一个表格页面开在旁边：两边是同一张表。",
        ],
    ),
];
