// The vote page: listens to its channel from the position that is rendered into it, and votes. `data-position` on the
// root element says what is shown.
(() => {
  "use strict";

  const HIDDEN_RENDER_MS = 250;
  const ANNOUNCE_MS = 5_000; // between two words about the leader to a screen reader
  const OWN_STROKES_MAX = 15; // drawn; the number beside them goes on

  const { root, texts, byId, fill, setText, svg, restart, notice, announce, epochOf } = tallycast;
  const path = root.dataset.path;
  const list = byId("options");
  const strokes = Array.from(document.querySelectorAll("#gate .stroke"), (stroke) => stroke.getAttribute("d"));

  // ---- What is known, and how it is shown ----

  let rows = new Map(); // option id -> its elements, count and own votes; in the order shown
  let listeners = null;

  function adopt(item) {
    const part = (name) => item.querySelector(name);
    return {
      item,
      button: part("button"),
      label: part(".label"),
      chip: part(".chip"),
      bar: part(".fill"),
      count: part(".count"),
      unit: part(".unit"),
      share: part(".share"),
      votes: Number(part(".count").textContent),
      own: 0,
      sending: 0,
    };
  }

  for (const item of list.children) rows.set(item.dataset.option, adopt(item));

  // A snapshot may know other options than the page: rows are made after the pattern of the first.
  function showOptions(options) {
    const next = new Map();
    for (const option of options) {
      let row = rows.get(option.id);
      if (!row) {
        const item = list.firstElementChild.cloneNode(true);
        item.dataset.option = option.id;
        item.querySelector(".yours")?.remove();
        row = adopt(item);
        row.button.value = option.id;
      }
      setText(row.label, tallycast.labelOf(option.label, option.id));
      row.votes = option.count;
      next.set(option.id, row);
    }
    if (next.size === 0) return;
    const same = next.size === rows.size && Array.from(next.keys()).every((id, at) => list.children[at].dataset.option === id);
    if (!same) list.replaceChildren(...Array.from(next.values(), (row) => row.item));
    rows = next;
  }

  // As `percentages` in page.rs: largest remainder, equal counts alike, together never above 100.
  function percentages(counts, total) {
    if (total === 0) return counts.map(() => 0);
    const shares = counts.map((count) => Math.floor((count * 100) / total));
    const rest = counts.map((count) => (count * 100) % total);
    const order = counts.map((_, index) => index).sort((a, b) => rest[b] - rest[a] || counts[b] - counts[a]);
    let missing = 100 - shares.reduce((sum, share) => sum + share, 0);
    for (let from = 0; from < order.length; ) {
      let to = from;
      while (to < order.length && counts[order[to]] === counts[order[from]]) to += 1;
      if (to - from > missing) break;
      missing -= to - from;
      for (; from < to; from += 1) shares[order[from]] += 1;
    }
    return shares;
  }

  let renderPlanned = false;

  // Many tallies, one rendering a frame. Hidden pages get no frames, yet their title and position go on.
  function plan() {
    if (renderPlanned) return;
    renderPlanned = true;
    const go = () => {
      renderPlanned = false;
      render();
    };
    if (document.hidden) setTimeout(go, HIDDEN_RENDER_MS);
    else requestAnimationFrame(go);
  }

  let lead = null;

  function render() {
    const all = Array.from(rows.values());
    const counts = all.map((row) => row.votes);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const most = Math.max(...counts);
    const leaders = most > 0 ? all.filter((row) => row.votes === most) : [];
    const shares = percentages(counts, total);
    all.forEach((row, index) => {
      const leads = leaders.includes(row);
      const standing = leads ? (leaders.length === 1 ? "leads" : "tied") : "";
      if (row.count.textContent !== String(row.votes)) restart(row.count, "bump");
      setText(row.count, String(row.votes));
      setText(row.unit, row.votes === 1 ? texts.vote : texts.votes);
      setText(row.share, `${shares[index]}%`);
      setText(row.chip, texts[standing] ?? "");
      row.item.dataset.standing = standing;
      row.bar.setAttribute("width", `${total === 0 ? "0.00" : ((row.votes / total) * 100).toFixed(2)}%`);
    });
    setText(byId("total"), String(total));
    setText(byId("total-unit"), total === 1 ? texts.vote : texts.votes);
    byId("gate").dataset.strokes = total === 0 ? 0 : ((total - 1) % 5) + 1;
    if (listeners !== null) tallycast.showListeners(listeners);
    const leader = leaders.length === 1 ? leaders[0].label.textContent : leaders.length ? "=" : "";
    if (lead !== null && leader !== lead) announceLead();
    lead = leader;
    root.dataset.position = link?.position() ?? root.dataset.position;
  }

  let announcePlanned = false;

  function announceLead() {
    if (announcePlanned) return;
    announcePlanned = true;
    setTimeout(() => {
      announcePlanned = false;
      announce(lead === "=" ? texts.announce_tie : lead ? fill("announce_lead", lead) : "");
    }, ANNOUNCE_MS);
  }

  // ---- Own votes ----

  async function vote(choice) {
    const row = rows.get(choice);
    if (!row) return;
    row.sending += 1;
    row.item.classList.add("sending");
    const answer = await link.send({ choice });
    row.sending -= 1;
    if (row.sending === 0) row.item.classList.remove("sending");
    const name = row.label.textContent;
    if (answer.type === "ok") {
      notice(fill("counted", name), "good");
      row.own += 1;
      showOwn(row, true);
      restart(row.item, "pulse");
    } else if (answer.code === "unknown") {
      notice(fill("unknown", name), "bad");
    } else if (answer.code === "crowded") {
      notice(texts.crowded, "bad");
    } else {
      notice(answer.code === "unsent" ? texts.unsent : fill("refused", tallycast.why(answer)), "bad");
      restart(row.item, "shake");
    }
  }

  // Strokes for one's own votes, five to a mark; a full card begins anew, its number goes on.
  function showOwn(row, drawn) {
    let own = row.item.querySelector(".yours");
    if (row.own === 0) {
      own?.remove();
      return;
    }
    if (!own) {
      own = document.createElement("span");
      own.className = "yours";
      own.append(document.createElement("span"), svg("svg", { "aria-hidden": "true" }));
      row.share.before(own);
    }
    const shown = ((row.own - 1) % OWN_STROKES_MAX) + 1;
    const paths = Array.from({ length: shown }, (_, index) =>
      svg("path", {
        d: strokes[index % 5],
        pathLength: "1",
        transform: `translate(${Math.floor(index / 5) * 38} 0)`,
        class: drawn && index === shown - 1 ? "stroke fresh" : "stroke",
      }),
    );
    const drawing = own.querySelector("svg");
    drawing.setAttribute("viewBox", `0 0 ${Math.ceil(shown / 5) * 38} 24`);
    drawing.replaceChildren(...paths);
    own.firstChild.textContent = `${texts.yours} ${row.own}`;
  }

  // ---- Messages (docs/protocol.md) ----

  function receive(message) {
    switch (message.type) {
      case "snapshot":
        if (epochOf(message.at) !== epochOf(root.dataset.position)) {
          for (const row of rows.values()) {
            row.own = 0; // another life of the channel: it knows nothing of those votes
            showOwn(row, false);
          }
        }
        showOptions(message.state.options);
        plan();
        break;
      case "tally":
        for (const [id, count] of Object.entries(message.counts)) {
          const row = rows.get(id);
          if (row) row.votes = count;
        }
        plan();
        break;
      case "listeners":
        listeners = message.count;
        plan();
        break;
    }
  }

  byId("ballot").addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter) vote(event.submitter.value);
  });

  let link = null;
  render();
  link = tallycast.openLink({
    where: () => ({ path }),
    post: (message) => ({ path, body: message }),
    receive,
    position: root.dataset.position,
  });
})();
