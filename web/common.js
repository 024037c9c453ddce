// What the pages share: texts, what is on the screen, and a link to a channel that comes back by itself. The only global
// is `tallycast`; on the root element, `data-state` (idle, connecting, live, waiting) says how the link is.
const tallycast = (() => {
  "use strict";

  const RETRY_MS_MIN = 500;
  const RETRY_MS_MAX = 15_000;
  const CONNECT_MS_MAX = 10_000; // an attempt that takes longer is given up
  const ANSWER_MS_MAX = 10_000; // what is not answered by then is unknown
  const STEADY_MS = 5_000; // a connection that lasted this long makes the back-off begin anew
  const ASLEEP_MS = 60_000; // hidden for longer, a connection may be dead without knowing
  const IN_FLIGHT_MAX = 20;
  const FAILURES_MAX = 3; // attempts in a row, before the other transport is tried
  const NAME_BYTES_MAX = 64;
  const TINTS = 8;

  const root = document.documentElement;
  const texts = JSON.parse(root.dataset.texts);
  const byId = (id) => document.getElementById(id);
  const fill = (key, ...words) => (texts[key] ?? "").replaceAll("{}", () => words.shift() ?? "");
  const labelOf = (labels, id) => labels?.[root.lang] ?? Object.values(labels ?? {})[0] ?? id;

  // ---- What is on the screen ----

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  // An element with attributes (one that is false is left out) and children: elements, or texts, which stay texts.
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }

  function svg(name, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function restart(element, animation) {
    element.classList.remove(animation);
    void element.getBoundingClientRect(); // without it the browser sees no change and does not play it again
    element.classList.add(animation);
  }

  let noticeTimer = 0;

  // A word at the lower edge, `good` or `bad`; with an action, {label, run}, a button beside it.
  function notice(text, tone, action) {
    const line = byId("notice");
    line.dataset.tone = tone;
    line.replaceChildren(text);
    if (action) {
      const button = make("button", { type: "button" }, action.label);
      button.addEventListener("click", () => {
        line.classList.remove("shown");
        action.run();
      });
      line.append(" ", button);
    }
    line.classList.add("shown");
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(() => line.classList.remove("shown"), tone === "good" && !action ? 2_500 : 8_000);
  }

  // To those who hear the page.
  const announce = (text) => setText(byId("announcement"), text);

  // Why something was refused, for people.
  const why = (answer) => texts[`code_${answer.code}`] ?? [answer.code, answer.expected].filter(Boolean).join(": ");

  function showListeners(count) {
    const line = byId("listeners");
    line.hidden = false;
    setText(line.querySelector("b"), String(count));
    setText(line.querySelector("span"), count === 1 ? texts.listener : texts.listeners);
  }

  // ---- Names ----

  // A name's colour, the same on every page and in every window: 0 to 7.
  function tint(name) {
    let sum = 7;
    for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 65_521;
    return sum % TINTS;
  }

  const face = (name) => make("span", { class: "face", "data-tint": tint(name), "aria-hidden": "true" }, Array.from(name)[0] ?? "?");

  // What is wrong with a name: a text for people, or nothing.
  function nameProblem(name) {
    if (name === "") return texts.name_empty;
    if (new TextEncoder().encode(name).length > NAME_BYTES_MAX) return texts.name_long;
    // Dots alone would be taken out of a URL's path.
    return /[\u0000-\u001f\u007f-\u009f]|^\.\.?$/.test(name) ? texts.name_wrong : "";
  }

  // Where a private window forbids it, nothing is remembered over a reload.
  const memory = {
    get(key) {
      try {
        return sessionStorage.getItem(`tallycast-${key}`);
      } catch {
        return null;
      }
    },
    set(key, text) {
      try {
        sessionStorage.setItem(`tallycast-${key}`, text);
      } catch {
        // as above
      }
    },
  };

  // The form #naming asks for one's name, #me shows it and lets it be changed. `named` is called with each new one, and
  // at once with the one that this window knows already.
  function naming(named) {
    const [form, me] = [byId("naming"), byId("me")];
    const field = form.querySelector("input");
    const show = (name) => {
      form.hidden = name !== "";
      me.hidden = name === "";
      me.querySelector(".who").replaceChildren(face(name), make("b", { dir: "auto" }, name));
    };
    checked(form, (name) => {
      memory.set("name", name);
      show(name);
      named(name);
    });
    me.querySelector("button").addEventListener("click", () => {
      form.hidden = false;
      me.hidden = true;
      field.select();
    });
    const known = memory.get("name") ?? "";
    const name = nameProblem(known) ? "" : known;
    field.value = name;
    show(name);
    if (name) named(name);
  }

  // A form with one field for a name: it says what is wrong with it, or calls `taken`.
  function checked(form, taken) {
    const field = form.querySelector("input");
    field.addEventListener("input", () => field.setCustomValidity(""));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = field.value.trim();
      field.setCustomValidity(nameProblem(name));
      if (form.reportValidity()) taken(name);
    });
  }

  // The people in #members, sorted. `joined` and `left` say whether that is news.
  function present() {
    let users = [];
    let own = "";
    const show = () => {
      const item = (user) => {
        const words = user === own ? [make("b", { dir: "auto" }, user), ` (${texts.you})`] : [user];
        return make("li", { "data-user": user }, face(user), make("span", { dir: "auto" }, ...words));
      };
      byId("members").replaceChildren(...users.map(item));
      byId("no-members").hidden = users.length > 0;
    };
    const change = (next) => {
      const news = next.length !== users.length;
      users = next.sort();
      show();
      return news;
    };
    return {
      are(all, name) {
        own = name;
        change([...all]);
      },
      joined: (user) => change(users.includes(user) ? users : [...users, user]),
      left: (user) => change(users.filter((other) => other !== user)),
    };
  }

  // ---- Transports: each calls `opened`, `said` (a message) and `ended` until it is closed ----
  // `where` is {path, query}. `send` asks for an answer with the id, `tell` for none.

  function address(scheme, { path, query }) {
    const url = new URL(path, location.href);
    url.protocol = scheme + (location.protocol === "https:" ? "s:" : ":");
    for (const [key, value] of Object.entries(query)) if (value) url.searchParams.set(key, value);
    return url.href;
  }

  function openSocket(where, on) {
    const socket = new WebSocket(address("ws", where));
    let open = true;
    socket.onopen = () => open && on.opened();
    socket.onmessage = (event) => open && said(event.data, on);
    socket.onclose = () => open && on.ended();
    return {
      answers: true,
      send: (message, id) => socket.send(JSON.stringify({ ...message, id })),
      tell: (message) => socket.send(JSON.stringify(message)),
      close() {
        open = false;
        socket.close();
      },
    };
  }

  function openEvents(where, on) {
    const source = new EventSource(address("http", where));
    source.onopen = () => on.opened();
    source.onmessage = (event) => said(event.data, on);
    source.onerror = () => on.ended(); // closed by `lost`: these pages keep their own back-off
    return {
      answers: false, // they come by responses: if the stream ends, they still do
      async send(message, id) {
        const { path, body } = where.post(message);
        let answer = { type: "refused", code: "unknown" };
        try {
          const response = await fetch(path, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify(body),
            signal: AbortSignal.timeout(ANSWER_MS_MAX),
          });
          const said = await response.json();
          if (said.type === "ok" || said.type === "refused") answer = said;
        } catch {
          // no answer, or none of ours
        }
        on.said({ ...answer, id });
      },
      tell() {},
      close() {
        source.onopen = source.onmessage = source.onerror = null;
        source.close();
      },
    };
  }

  function said(text, on) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return on.ended(); // not our protocol: a proxy's page, or worse
    }
    on.said(message);
  }

  // ---- The link: connecting -> live -> waiting -> connecting .. ----

  // Begins to connect, and goes on until `close`. `where()` is {path, name}; `post(message)` is {path, body}, how a
  // message is posted if there is no WebSocket; `receive(message)` gets all but answers; `live()` is called whenever
  // the stream stands. `position` is where to begin.
  function openLink({ where, post, receive, live = () => {}, position = "", transports = [openSocket, openEvents] }) {
    let transport = null;
    let openTransport = transports[0];
    let opened = false;
    let attempts = 0; // since the last steady connection: the back-off
    let failures = 0; // in a row, never opened: the transport may be at fault
    let liveSince = 0;
    let hiddenSince = 0;
    let timer = 0; // the attempt's limit, or the next attempt
    let ticker = 0; // the seconds shown
    let nextId = 1;
    const inFlight = new Map(); // id -> {answered, timer}
    const ended = new AbortController();
    const isLive = () => root.dataset.state === "live";

    function show(state) {
      root.dataset.state = state;
      const offline = state !== "live" && !navigator.onLine;
      root.toggleAttribute("data-offline", offline);
      setText(byId("state"), offline ? texts.offline : texts[state]);
      byId("again").hidden = state !== "waiting";
      if (state !== "waiting") setText(byId("countdown"), "");
    }

    function settle(id, answer) {
      const sent = inFlight.get(id);
      if (!sent) return; // a late second answer finds nothing
      inFlight.delete(id);
      clearTimeout(sent.timer);
      sent.answered(answer);
    }

    function hangUp() {
      clearTimeout(timer);
      clearInterval(ticker);
      const before = transport;
      transport = null;
      before?.close();
      // The answers come this way or not at all.
      if (before?.answers) for (const id of Array.from(inFlight.keys())) settle(id, { type: "refused", code: "unknown" });
    }

    function heard(message) {
      if (message.type === "ok" || message.type === "refused") {
        settle(message.id, message);
        return;
      }
      receive(message);
      if (message.at) position = message.at;
      if (message.type === "snapshot" || message.type === "resumed") stands();
    }

    function connect() {
      if (ended.signal.aborted) return;
      hangUp();
      opened = false;
      liveSince = 0;
      show("connecting");
      timer = setTimeout(lost, CONNECT_MS_MAX);
      const { path, name } = where();
      const on = {
        opened() {
          opened = true;
          failures = 0;
        },
        said: heard,
        ended: lost,
      };
      transport = openTransport({ path, query: { name, since: position }, post }, on);
    }

    // The stream stands: its first message is here.
    function stands() {
      if (!isLive()) {
        clearTimeout(timer);
        liveSince = Date.now();
        show("live");
      }
      live();
    }

    function lost() {
      if (ended.signal.aborted) return;
      hangUp();
      if (liveSince && Date.now() - liveSince > STEADY_MS) attempts = 0;
      liveSince = 0;
      if (!opened) failures += 1;
      if (failures >= FAILURES_MAX && transports.length > 1) changeTransport();
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
        const response = await fetch(where().path, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(CONNECT_MS_MAX) });
        if (!response.ok || opened || openTransport !== before) return;
      } catch {
        return;
      }
      failures = 0;
      openTransport = transports[(transports.indexOf(before) + 1) % transports.length];
      connect();
    }

    function hurry() {
      if (root.dataset.state === "waiting") connect();
    }

    const listen = (target, event, act) => target.addEventListener(event, act, { signal: ended.signal });
    listen(byId("again"), "click", hurry);
    listen(window, "online", () => {
      attempts = 0;
      hurry();
    });
    // Tried on all the same: a server on this machine is reached without any network.
    listen(window, "offline", () => {
      if (root.dataset.state !== "waiting") lost();
      else show("waiting");
    });
    listen(document, "visibilitychange", () => {
      if (document.hidden) {
        hiddenSince = Date.now();
      } else if (isLive() && Date.now() - hiddenSince > ASLEEP_MS && inFlight.size === 0) {
        connect();
      } else {
        hurry();
      }
    });
    listen(window, "pagehide", hangUp);
    listen(window, "pageshow", (event) => {
      if (event.persisted) connect();
    });
    connect();

    return {
      isLive,
      position: () => position,
      connect, // anew, as after another name
      close() {
        ended.abort();
        hangUp();
      },
      // A promise of the answer: `ok`, or `refused` with its code, or with one of ours: `unsent` (there is no
      // connection), `crowded` (too much is on its way), `unknown` (it may or may not have arrived).
      send(message) {
        return new Promise((answered) => {
          if (!isLive()) return answered({ type: "refused", code: "unsent" });
          if (inFlight.size >= IN_FLIGHT_MAX) return answered({ type: "refused", code: "crowded" });
          const id = nextId++;
          const unanswered = () => {
            settle(id, { type: "refused", code: "unknown" });
            lost();
          };
          inFlight.set(id, { answered, timer: setTimeout(unanswered, ANSWER_MS_MAX) });
          transport.send(message, id);
        });
      },
      // What needs no answer, and may be lost.
      tell(message) {
        if (isLive()) transport.tell(message);
      },
    };
  }

  // A position's epoch and revision.
  const epochOf = (at) => at.slice(0, at.indexOf("-"));
  const revisionOf = (at) => Number(at.slice(at.indexOf("-") + 1));

  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  root.dataset.state = "idle"; // the script runs; no link yet
  for (const place of document.querySelectorAll(".origin")) setText(place, location.origin);

  return {
    root, texts, byId, fill, labelOf, setText, make, svg, restart, notice, announce, why, showListeners,
    tint, face, memory, naming, checked, present, openLink, epochOf, revisionOf,
  };
})();
