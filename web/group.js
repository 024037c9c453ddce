// The group page: what is said in the room, who is there, and one's own words.
(() => {
  "use strict";

  const { root, texts, byId, fill, notice, openLink, naming } = tallycast;
  const { flow, composer, answered } = tallycast.talk;
  const path = root.dataset.path;

  let name = "";
  let link = null;
  let said = new Map(); // position -> message
  let waiting = []; // one's own that are not known to be accepted, in the order in which they were written

  // ---- Messages ----

  const shown = flow({ retry: send, ordered: true });

  function hear({ at, from, text, binary }, time) {
    if (said.has(at)) return; // one's own that the answer had shown already
    const own = name !== "" && from === name;
    const lost = own && waiting.find((message) => message.fate === "unsure" && message.text === text);
    if (lost) {
      accept(lost, { type: "ok", at });
      return;
    }
    const message = { at, from, text, binary, own, time };
    said.set(at, message);
    shown.add(message);
  }

  // All that is kept; one's own that arrived although no answer said so is not shown twice.
  function begin(messages) {
    const before = said;
    said = new Map();
    for (const old of messages) {
      const message = { ...old, own: name !== "" && old.from === name, time: before.get(old.at)?.time };
      said.set(old.at, message);
      if (!message.own || before.has(old.at)) continue;
      const lost = waiting.find((other) => other.fate === "unsure" && other.text === old.text);
      waiting = waiting.filter((other) => other !== lost);
    }
    shown.fill([...said.values(), ...waiting]);
  }

  function accept(message, answer) {
    waiting = waiting.filter((other) => other !== message);
    if (said.has(answer.at)) {
      shown.remove(message); // it came by the stream before
      return;
    }
    answered(message, answer);
    said.set(message.at, message);
    shown.update(message);
  }

  function say(text) {
    if (!link.isLive()) {
      notice(texts.unsent, "bad");
      return false;
    }
    const message = { from: name, text, own: true, fate: "sending" };
    waiting.push(message);
    shown.add(message);
    send(message);
    return true;
  }

  async function send(message) {
    message.fate = "sending";
    shown.update(message);
    const answer = await link.send({ text: message.text });
    if (!waiting.includes(message)) return; // the stream knew it first
    if (answer.type === "ok") {
      accept(message, answer);
    } else {
      answered(message, answer);
      shown.update(message);
    }
  }

  // ---- Who is there ----

  const present = tallycast.present();

  // ---- The link ----

  function receive(message) {
    switch (message.type) {
      case "snapshot":
        begin(message.state.messages);
        break;
      case "message":
        hear(message, Date.now());
        break;
      case "gap":
        shown.gap();
        break;
      case "listeners":
        tallycast.showListeners(message.count);
        break;
      case "members":
        present.are(message.users, name);
        break;
      case "joined":
        if (present.joined(message.user) && message.user !== name) shown.note(fill("joined", message.user), message.user);
        break;
      case "left":
        if (present.left(message.user) && message.user !== name) shown.note(fill("left", message.user), message.user);
        break;
    }
  }

  const writing = composer(say);

  naming((chosen) => {
    name = chosen;
    byId("composer").hidden = false;
    if (!link) return;
    link.connect();
    writing.focus();
  });
  link = openLink({
    where: () => ({ path, name }),
    post: (message) => ({ path, body: { ...message, from: name } }),
    receive,
  });
})();
