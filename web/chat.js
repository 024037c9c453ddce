// The chat page: conversations with one person each. What is said is kept in this window's session: a reload shows it
// again. One listens to one's own channel; what one writes goes to the other's.
(() => {
  "use strict";

  const KEPT_MAX = 200; // messages of a conversation
  const { root, texts, byId, fill, setText, make, face, notice, announce, memory, openLink, naming, checked } = tallycast;
  const { flow, composer, answered, leftOut } = tallycast.talk;

  const NOBODY = "\u0000"; // stands for those who gave no name: no name has such a character

  let name = "";
  let link = null;
  let conversations = new Map(); // peer -> {messages, unread}; the one with the latest word first
  let peer = ""; // whose conversation is open
  let heard = new Set(); // positions of what was received

  // ---- What is kept ----

  function keep() {
    for (const conversation of conversations.values()) conversation.messages.splice(0, conversation.messages.length - KEPT_MAX);
    memory.set(`chat-${name}`, JSON.stringify({ peer, position: link?.position(), conversations: Array.from(conversations) }));
  }

  function recall() {
    const kept = JSON.parse(memory.get(`chat-${name}`) ?? "{}");
    conversations = new Map(kept.conversations ?? []);
    peer = conversations.has(kept.peer) ? kept.peer : "";
    heard = new Set();
    for (const message of Array.from(conversations.values()).flatMap(({ messages }) => messages)) {
      if (message.own && message.fate === "sending") message.fate = "unsure"; // the window was closed meanwhile
      if (!message.own) heard.add(message.at);
    }
    return kept.position;
  }

  const called = (who) => (who === NOBODY ? texts.nobody : who);
  const conversationWith = (who) => {
    if (!conversations.has(who)) conversations.set(who, { messages: [], unread: 0 });
    return conversations.get(who);
  };

  function toFront(who) {
    conversations = new Map([[who, conversationWith(who)], ...conversations]);
  }

  // ---- The list ----

  function showPeers() {
    const items = Array.from(conversations, ([who, { messages, unread }]) => {
      const last = messages.at(-1);
      const button = make(
        "button",
        { type: "button", "data-peer": who, "aria-current": who === peer && "true" },
        face(called(who)),
        make("span", { class: "peer", dir: "auto" }, called(who)),
        make("span", { class: "last", dir: "auto" }, last?.text ?? ""),
      );
      if (unread > 0) {
        const mark = make("span", { class: "unread" }, make("span", { "aria-hidden": "true" }, String(unread)));
        mark.append(make("span", { class: "unseen" }, fill("unread", String(unread))));
        button.append(mark);
      }
      button.addEventListener("click", () => open(who));
      return make("li", {}, button);
    });
    const focused = document.activeElement?.dataset?.peer;
    byId("peers").replaceChildren(...items);
    if (focused) items.map((item) => item.firstChild).find((button) => button.dataset.peer === focused)?.focus();
    byId("no-peers").hidden = conversations.size > 0;
    const unread = Array.from(conversations.values()).reduce((sum, conversation) => sum + conversation.unread, 0);
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${texts.title} · Tallycast`;
  }

  // ---- The conversation ----

  const shown = flow({ retry: send, ordered: false });
  const isSeen = (who) => who === peer && !document.hidden;

  function show() {
    root.toggleAttribute("data-open", peer !== "");
    byId("nothing").hidden = peer !== "";
    byId("open").hidden = peer === "";
    if (peer) {
      byId("peer-name").replaceChildren(face(called(peer)), called(peer));
      byId("composer").hidden = peer === NOBODY;
      shown.fill(conversationWith(peer).messages);
    }
    showPeers();
  }

  function open(who) {
    peer = who;
    if (who) conversationWith(who).unread = 0;
    show();
    keep();
    if (who) writing.focus();
    else byId("peer").focus();
  }

  function hear({ at, from, text, binary }, time) {
    if (heard.has(at)) return;
    heard.add(at);
    const who = from ?? NOBODY;
    const message = { at, from, text, binary, own: false, time };
    const conversation = conversationWith(who);
    conversation.messages.push(message);
    if (who === peer) shown.add(message);
    if (!isSeen(who)) {
      conversation.unread += 1;
      announce(fill("wrote", called(who), text ?? ""));
    }
    toFront(who);
  }

  function say(text) {
    if (!link?.isLive()) {
      notice(texts.unsent, "bad");
      return false;
    }
    const message = { from: name, to: peer, text, own: true, fate: "sending" };
    conversationWith(peer).messages.push(message);
    toFront(peer);
    shown.add(message);
    send(message);
    return true;
  }

  async function send(message) {
    message.fate = "sending";
    shown.update(message);
    showPeers();
    keep();
    const sender = name;
    answered(message, await link.send({ to: message.to, text: message.text }));
    if (sender !== name) return; // another name, other conversations
    if (message.to === peer) shown.update(message);
    keep();
  }

  // ---- The link ----

  function receive(message) {
    switch (message.type) {
      case "snapshot":
        for (const old of message.state.messages) hear(old);
        break;
      case "message":
        hear(message, Date.now());
        break;
      case "gap": // whose messages they were, nobody knows
        if (peer) shown.gap();
        else notice(leftOut, "bad");
        break;
      default:
        return;
    }
    showPeers();
  }

  const writing = composer(say);

  function begin(chosen) {
    if (chosen === name) return;
    link?.close();
    name = chosen;
    const position = recall();
    byId("conversations").hidden = false;
    setText(byId("choose"), texts.choose);
    setText(byId("choose-more"), texts.choose_more);
    show();
    link = openLink({
      where: () => ({ path: root.dataset.path + encodeURIComponent(name) }),
      post: ({ to, text }) => ({ path: root.dataset.path + encodeURIComponent(to), body: { text, from: name } }),
      receive: (message) => {
        receive(message);
        if (message.at) queueMicrotask(keep); // behind the link's own note of the position
      },
      position,
    });
  }

  checked(byId("opening"), (who) => {
    byId("peer").value = "";
    open(who);
  });
  byId("back").addEventListener("click", () => open(""));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !peer) return;
    conversationWith(peer).unread = 0;
    showPeers();
    keep();
  });
  naming(begin);
})();
