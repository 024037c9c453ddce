// The vote page: listens to its channel from the position that is rendered into it, and votes. Nothing global but
// `data-state` (connecting, live, waiting) and `data-position` (what is shown) on the root element.
(() => {
  "use strict";

  const RETRY_MS_MIN = 500;
  const RETRY_MS_MAX = 15_000;
  const CONNECT_MS_MAX = 10_000; // an attempt that takes longer is given up
  const ANSWER_MS_MAX = 10_000; // a vote that is not answered by then is unknown
  const STEADY_MS = 5_000; // a connection that lasted this long makes the back-off begin anew
  const ASLEEP_MS = 60_000; // hidden for longer, a connection may be dead without knowing
  const HIDDEN_RENDER_MS = 250;
  const ANNOUNCE_MS = 5_000; // between two words about the leader to a screen reader
  const VOTES_IN_FLIGHT_MAX = 20;
  const FAILURES_MAX = 3; // attempts in a row, before the other transport is tried
  const OWN_STROKES_MAX = 15; // drawn; the number beside them goes on

  const root = document.documentElement;
  const texts = JSON.parse(root.dataset.texts);
  const path = root.dataset.path;
  const byId = (id) => document.getElementById(id);
  const list = byId("options");
  const strokes = Array.from(document.querySelectorAll("#gate .stroke"), (stroke) => stroke.getAttribute("d"));
  const fill = (key, word) => (texts[key] ?? "").replace("{}", () => word);

  // ---- What is known, and how it is shown ----

  let position = root.dataset.position;
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
      setText(row.label, option.label[root.lang] ?? Object.values(option.label)[0] ?? option.id);
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

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
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
    if (listeners !== null) {
      const line = byId("listeners");
      line.hidden = false;
      setText(line.querySelector("b"), String(listeners));
      setText(line.querySelector("span"), listeners === 1 ? texts.listener : texts.listeners);
    }
    const leader = leaders.length === 1 ? leaders[0].label.textContent : leaders.length ? "=" : "";
    if (lead !== null && leader !== lead) announce();
    lead = leader;
    root.dataset.position = position;
  }

  let announcePlanned = false;

  function announce() {
    if (announcePlanned) return;
    announcePlanned = true;
    setTimeout(() => {
      announcePlanned = false;
      setText(byId("announcement"), lead === "=" ? texts.announce_tie : lead ? fill("announce_lead", lead) : "");
    }, ANNOUNCE_MS);
  }

  function restart(element, animation) {
    element.classList.remove(animation);
    void element.getBoundingClientRect(); // without it the browser sees no change and does not play it again
    element.classList.add(animation);
  }

  // ---- Own votes ----

  const inFlight = new Map(); // id -> {choice, timer}
  let nextId = 1;
  let noticeTimer = 0;

  function notice(text, tone) {
    const line = byId("notice");
    line.dataset.tone = tone;
    line.textContent = text;
    line.classList.add("shown");
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(() => line.classList.remove("shown"), tone === "good" ? 2_500 : 8_000);
  }

  function vote(choice) {
    const row = rows.get(choice);
    if (!row) return;
    if (root.dataset.state !== "live") {
      restart(row.item, "shake");
      notice(texts.unsent, "bad");
      return;
    }
    if (inFlight.size >= VOTES_IN_FLIGHT_MAX) {
      notice(texts.crowded, "bad");
      return;
    }
    const id = nextId++;
    const unanswered = () => {
      unknown(id);
      lost();
    };
    inFlight.set(id, { choice, timer: setTimeout(unanswered, ANSWER_MS_MAX) });
    row.item.classList.add("sending");
    link.vote(choice, id);
  }

  // The vote that was answered, once; a late second answer finds nothing.
  function settle(id) {
    const sent = inFlight.get(id);
    if (!sent) return null;
    inFlight.delete(id);
    clearTimeout(sent.timer);
    const row = rows.get(sent.choice) ?? null;
    const more = Array.from(inFlight.values()).some((other) => other.choice === sent.choice);
    if (row && !more) row.item.classList.remove("sending");
    return { row, name: row ? row.label.textContent : sent.choice };
  }

  function accepted(id) {
    const sent = settle(id);
    if (!sent) return;
    notice(fill("counted", sent.name), "good");
    if (!sent.row) return;
    sent.row.own += 1;
    showOwn(sent.row, true);
    restart(sent.row.item, "pulse");
  }

  function refused(id, code, expected) {
    if (code === "unknown") return unknown(id);
    const sent = settle(id);
    if (!sent) return;
    const why = texts[`code_${code}`] ?? [code, expected].filter(Boolean).join(": ");
    notice(fill("refused", why), "bad");
    if (sent.row) restart(sent.row.item, "shake");
  }

  function unknown(id) {
    const sent = settle(id);
    if (sent) notice(fill("unknown", sent.name), "bad");
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

  function svg(name, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  // ---- Messages (docs/protocol.md) ----

  const epochOf = (at) => at.slice(0, at.indexOf("-"));

  function receive(message) {
    switch (message.type) {
      case "snapshot":
        if (epochOf(message.at) !== epochOf(position)) {
          for (const row of rows.values()) {
            row.own = 0; // another life of the channel: it knows nothing of those votes
            showOwn(row, false);
          }
        }
        position = message.at;
        showOptions(message.state.options);
        render();
        live();
        break;
      case "resumed":
        position = message.at;
        render();
        live();
        break;
      case "tally":
        position = message.at;
        for (const [id, count] of Object.entries(message.counts)) {
          const row = rows.get(id);
          if (row) row.votes = count;
        }
        plan();
        break;
      case "message":
        position = message.at;
        plan();
        break;
      case "listeners":
        listeners = message.count;
        plan();
        break;
      case "ok": // its `at` is not remembered: publications up to it may still be on their way
        accepted(message.id);
        break;
      case "refused":
        refused(message.id, message.code, message.expected);
        break;
    }
  }

  // ---- Transports: each calls `opened`, `said` (a text) and `ended` until it is closed ----

  const address = (scheme) => {
    const url = new URL(path, location.href);
    url.protocol = scheme + (location.protocol === "https:" ? "s:" : ":");
    url.searchParams.set("since", position);
    return url.href;
  };

  function openSocket(on) {
    const socket = new WebSocket(address("ws"));
    let open = true;
    socket.onopen = () => open && on.opened();
    socket.onmessage = (event) => open && on.said(event.data);
    socket.onclose = () => {
      if (open) on.ended();
    };
    return {
      vote(choice, id) {
        socket.send(JSON.stringify({ choice, id }));
      },
      close() {
        open = false;
        socket.close();
        // The answers come this way or not at all.
        for (const id of Array.from(inFlight.keys())) unknown(id);
      },
    };
  }

  function openEvents(on) {
    const source = new EventSource(address("http"));
    source.onopen = () => on.opened();
    source.onmessage = (event) => on.said(event.data);
    source.onerror = () => on.ended(); // closed by `lost`: this page keeps its own back-off
    return {
      // The answer does not need the stream: if that ends, the vote still waits for its own response.
      async vote(choice, id) {
        try {
          const response = await fetch(path, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ choice }),
            signal: AbortSignal.timeout(ANSWER_MS_MAX),
          });
          receive({ ...(await response.json()), id });
        } catch {
          unknown(id);
        }
      },
      close() {
        source.onopen = source.onmessage = source.onerror = null;
        source.close();
      },
    };
  }

  // ---- The connection: connecting -> live -> waiting -> connecting .. ----

  let link = null;
  let openTransport = openSocket;
  let opened = false;
  let attempts = 0; // since the last steady connection: the back-off
  let failures = 0; // in a row, never opened: the transport may be at fault
  let liveSince = 0;
  let hiddenSince = 0;
  let timer = 0; // the attempt's limit, or the next attempt
  let ticker = 0; // the seconds shown

  function show(state) {
    root.dataset.state = state;
    const offline = state !== "live" && !navigator.onLine;
    root.toggleAttribute("data-offline", offline);
    setText(byId("state"), offline ? texts.offline : texts[state]);
    byId("again").hidden = state !== "waiting";
    if (state !== "waiting") setText(byId("countdown"), "");
  }

  function connect() {
    clearTimeout(timer);
    clearInterval(ticker);
    link?.close();
    opened = false;
    liveSince = 0;
    show("connecting");
    timer = setTimeout(lost, CONNECT_MS_MAX);
    link = openTransport({
      opened() {
        opened = true;
        failures = 0;
      },
      said(text) {
        let message;
        try {
          message = JSON.parse(text);
        } catch {
          return lost(); // not our protocol: a proxy's page, or worse
        }
        receive(message);
      },
      ended: lost,
    });
  }

  // The stream stands: its first message is here.
  function live() {
    if (root.dataset.state === "live") return;
    clearTimeout(timer);
    liveSince = Date.now();
    show("live");
  }

  function lost() {
    clearTimeout(timer);
    clearInterval(ticker);
    link?.close();
    link = null;
    if (liveSince && Date.now() - liveSince > STEADY_MS) attempts = 0;
    liveSince = 0;
    if (!opened) failures += 1;
    if (failures >= FAILURES_MAX) changeTransport();
    const most = Math.min(RETRY_MS_MAX, 2 * RETRY_MS_MIN * 2 ** attempts);
    const wait = RETRY_MS_MIN + Math.random() * (most - RETRY_MS_MIN);
    attempts += 1;
    const until = Date.now() + wait;
    const tick = () => {
      const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
      setText(byId("countdown"), fill("in_seconds", String(seconds)));
    };
    show("waiting");
    tick();
    ticker = setInterval(tick, 250);
    timer = setTimeout(connect, wait);
  }

  // Only if HTTP works is the transport at fault, and not the server or the network.
  async function changeTransport() {
    const before = openTransport;
    try {
      const response = await fetch(path, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(CONNECT_MS_MAX) });
      if (!response.ok || opened || openTransport !== before) return;
    } catch {
      return;
    }
    failures = 0;
    openTransport = before === openSocket ? openEvents : openSocket;
    connect();
  }

  function hurry() {
    if (root.dataset.state === "waiting") connect();
  }

  byId("again").addEventListener("click", hurry);
  addEventListener("online", () => {
    attempts = 0;
    hurry();
  });
  // Tried on all the same: a server on this machine is reached without any network.
  addEventListener("offline", () => {
    if (root.dataset.state !== "waiting") lost();
    else show("waiting");
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hiddenSince = Date.now();
    } else if (root.dataset.state === "live" && Date.now() - hiddenSince > ASLEEP_MS && inFlight.size === 0) {
      connect();
    } else {
      hurry();
    }
  });
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    clearInterval(ticker);
    link?.close();
    link = null;
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) connect();
  });
  byId("ballot").addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter) vote(event.submitter.value);
  });

  setText(byId("origin"), location.origin);
  render();
  connect();
})();
