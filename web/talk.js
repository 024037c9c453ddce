// What the chat and the group page share: a flow of messages, and the form in which one writes.
(() => {
  "use strict";

  const SHOWN_MAX = 500; // messages and notes; older ones go
  const NEAR_PX = 48; // so close to the end, one reads along
  const LEFT_OUT = { en: "Some messages were left out: this window was too slow", zh: "有些消息没有显示：这个窗口来不及接收" };
  const { root, texts, byId, fill, labelOf, make, face, tint, why, epochOf, revisionOf } = tallycast;

  const clock = new Intl.DateTimeFormat(root.lang, { hour: "numeric", minute: "2-digit" });

  const leftOut = labelOf(LEFT_OUT);

  // What a message is here: {at, from, text, own, time, fate, code, expected}. `at` and `time` may be missing; `fate` is
  // "sending", "refused" or "unsure" of one's own that is not known to be accepted.
  function textOf(message) {
    if (message.text !== undefined) return message.text;
    const binary = message.binary ?? "";
    return fill("binary", String(Math.floor((binary.length * 3) / 4) - (binary.match(/=*$/)?.[0].length ?? 0)));
  }

  // The messages in `#flow`. `retry(message)` sends one again; `ordered`: all are of one channel, so that their
  // positions say which is before which.
  function flow({ retry, ordered }) {
    const list = byId("flow");
    const newer = byId("newer");
    const items = new Map(); // message -> its item
    const messages = new WeakMap(); // and back

    const reachesEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX;

    function toEnd() {
      list.scrollTop = list.scrollHeight;
      newer.hidden = true;
    }

    // Does something to the list; who read along goes on to do so.
    function keepingPlace(change, wanted = false, news = true) {
      const along = wanted || reachesEnd();
      change();
      while (list.children.length > SHOWN_MAX) {
        items.delete(messages.get(list.firstElementChild));
        list.firstElementChild.remove();
      }
      byId("first-word").hidden = items.size > 0;
      if (along) toEnd();
      else if (news) newer.hidden = false;
    }

    // One behind another of the same author is drawn as one block.
    function tie(item) {
      const before = messages.get(item?.previousElementSibling);
      const message = messages.get(item);
      item?.classList.toggle("follows", Boolean(before && message && before.own === message.own && before.from === message.from));
    }

    // In the order of the positions, but never in front of what another life of the channel said.
    function nextOf(message) {
      if (!ordered || !message.at) return null;
      let next = null;
      for (let item = list.lastElementChild; item; item = item.previousElementSibling) {
        const other = messages.get(item);
        if (!other?.at) {
          if (other) next = item; // one's own that is still on its way stays behind
          continue;
        }
        if (epochOf(other.at) !== epochOf(message.at) || revisionOf(other.at) < revisionOf(message.at)) break;
        next = item;
      }
      return next;
    }

    function dress(message) {
      const item = items.get(message);
      item.dataset.fate = message.fate ?? "";
      const line = item.querySelector(".fate");
      if (message.fate === "sending") {
        line.replaceChildren(texts.sending);
      } else if (message.fate) {
        const again = make("button", { type: "button" }, texts.retry);
        again.addEventListener("click", () => retry(message));
        const reason = why(message).replace("{}", () => message.to ?? "");
        line.replaceChildren(message.fate === "unsure" ? texts.unsure : fill("not_sent", reason), " ", again);
      } else {
        line.replaceChildren(message.time ? clock.format(message.time) : "");
      }
    }

    function place(message) {
      const item = items.get(message);
      const after = item.nextElementSibling;
      list.insertBefore(item, nextOf(message));
      for (const touched of [after, item, item.nextElementSibling]) if (touched) tie(touched);
    }

    list.addEventListener("scroll", () => {
      if (reachesEnd()) newer.hidden = true;
    });
    newer.addEventListener("click", toEnd);

    return {
      add(message) {
        const from = message.from ?? texts.nobody;
        const item = make(
          "li",
          { class: message.own ? "said own" : "said", "data-tint": tint(from) },
          face(from),
          make(
            "div",
            { class: "bubble" },
            make("p", { class: "from", dir: "auto" }, message.own ? texts.you : from),
            make("p", { class: "text", dir: "auto" }, textOf(message)),
          ),
          make("p", { class: "fate" }),
        );
        items.set(message, item);
        messages.set(item, message);
        dress(message);
        keepingPlace(() => place(message), message.own && Boolean(message.fate));
      },
      // Its fate or its position is another.
      update(message) {
        if (!items.has(message)) return;
        dress(message);
        keepingPlace(() => place(message), true);
      },
      remove(message) {
        const item = items.get(message);
        const after = item?.nextElementSibling;
        items.delete(message);
        item?.remove();
        if (after) tie(after);
      },
      // A word between the messages. What was said just before about the same person is replaced.
      note(text, about) {
        const last = list.lastElementChild;
        if (last?.dataset.about === about) last.remove();
        keepingPlace(() => list.append(make("li", { class: "note", "data-about": about }, text)), false, false);
      },
      // Messages are missing here. Nobody's name is empty.
      gap() {
        this.note(leftOut, "");
      },
      // Many at a time, in silence.
      fill(all) {
        list.setAttribute("aria-busy", "true");
        items.clear();
        list.replaceChildren();
        for (const message of all) this.add(message);
        byId("first-word").hidden = items.size > 0;
        toEnd();
        list.removeAttribute("aria-busy");
      },
      toEnd,
    };
  }

  // The form #composer: Enter sends, Shift+Enter begins a line. `say(text)` is true if the text was taken.
  function composer(say) {
    const form = byId("composer");
    const field = byId("text");
    const fit = () => {
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight + 2}px`;
      form.classList.toggle("empty", field.value.trim() === "");
    };
    field.addEventListener("input", fit);
    field.addEventListener("keydown", (event) => {
      // While Chinese is being composed, Enter belongs to the input method (229 is Safari's word for it).
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim() !== "" && say(field.value)) field.value = "";
      fit();
      field.focus();
    });
    fit();
    return { focus: () => field.focus() };
  }

  // What an answer says about one's own message.
  function answered(message, answer) {
    message.fate = undefined;
    if (answer.type === "ok") {
      message.at = answer.at;
      message.time = Date.now();
    } else {
      message.fate = answer.code === "unknown" ? "unsure" : "refused";
      message.code = answer.code;
      message.expected = answer.expected;
    }
  }

  tallycast.talk = { flow, composer, answered, leftOut };
})();
