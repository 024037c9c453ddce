// The table page: several people edit one table. A cell shows what the server said last; what one writes over it goes out
// with the revision that was seen, so that nothing is overwritten unseen: then one is asked.
(() => {
  "use strict";

  const { root, texts, byId, fill, labelOf, make, svg, tint, notice, announce, why, restart, revisionOf, openLink, naming } = tallycast;
  const path = root.dataset.path;
  const table = byId("table");
  const body = table.tBodies[0];

  let name = "";
  let link = null;
  let columns = []; // {id, label}
  const rows = new Map(); // id -> row: {id, item, tools, cells}; their order is that of the items
  const editors = new Map(); // who -> {user, cell}
  const recent = { at: "", row: "" }; // the row that came last
  let wanted = ""; // the position of a row of one's own that has not come yet

  const textOf = (value) => (value === null ? "" : String(value));
  const items = () => Array.from(body.children).filter((item) => item.dataset.row !== undefined);
  const rowOf = (item) => rows.get(item.dataset.row);
  const cellAt = (row, column) => rows.get(row)?.cells.find((cell) => cell.column.id === column);
  const isDirty = (cell) => cell.base !== null && cell.input.value !== textOf(cell.base.value);

  // What people call a row: what is in its first filled cell, or its number.
  function nameOf(row) {
    const filled = row.cells.find((cell) => textOf(cell.value) !== "");
    return filled ? textOf(filled.value) : fill("row", String(items().indexOf(row.item) + 1));
  }

  // Kinds of scalars stay: a number that is still written as one is one.
  function valueOf(text, before) {
    if (typeof before === "number" && text.trim() !== "" && String(Number(text)) === text.trim()) return Number(text);
    if (typeof before === "boolean" && (text === "true" || text === "false")) return text === "true";
    return text;
  }

  // ---- Elements ----

  const ICONS = {
    row_up: "m6 14 6-6 6 6",
    row_down: "m6 10 6 6 6-6",
    row_insert: "M12 6v12M6 12h12",
    row_delete: "m7 7 10 10M17 7 7 17",
  };

  function icon(key) {
    const drawing = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
    drawing.append(svg("path", { d: ICONS[key] }));
    return drawing;
  }

  function makeHead() {
    const cells = columns.map((column) => make("th", { role: "columnheader", scope: "col" }, labelOf(column.label, column.id)));
    cells.push(make("td", { role: "cell", class: "tools" }));
    table.tHead.replaceChildren(make("tr", { role: "row" }, ...cells));
  }

  function makeCell(row, column) {
    const label = labelOf(column.label, column.id);
    const input = make("input", { dir: "auto", autocomplete: "off", spellcheck: "false" });
    const cell = { row, column, label, input, value: "", rev: -1, by: undefined, base: null, unsaved: null, next: null, conflict: null };
    cell.item = make("td", { role: "cell", "data-column": column.id, "data-label": label }, input);
    input.addEventListener("focus", () => {
      cell.base = cell.unsaved ?? { value: cell.value, rev: cell.rev };
      tellEditing(cell);
      input.select();
    });
    input.addEventListener("blur", () => {
      if (moving) return;
      commit(cell);
      cell.base = null;
      tellEditing(null);
    });
    input.addEventListener("keydown", (event) => press(event, cell));
    return cell;
  }

  function makeRow({ id, cells }) {
    const row = { id };
    row.cells = columns.map((column) => makeCell(row, column));
    const tool = (key, act) => {
      const button = make("button", { type: "button", class: key, title: texts[key], tabindex: key === "row_up" ? "0" : "-1" });
      button.append(icon(key));
      button.addEventListener("click", () => act(row));
      return button;
    };
    row.tools = make(
      "div",
      { role: "toolbar" },
      tool("row_up", (which) => move(which, -1)),
      tool("row_down", (which) => move(which, 1)),
      tool("row_insert", insertBelow),
      tool("row_delete", remove),
    );
    row.tools.addEventListener("keydown", pressTool);
    const last = make("td", { role: "cell", class: "tools" }, row.tools);
    row.item = make("tr", { role: "row", "data-row": id }, ...row.cells.map((cell) => cell.item), last);
    row.cells.forEach((cell, index) => show(cell, cells[index] ?? { value: "", rev: 0 }));
    rows.set(id, row);
    return row;
  }

  // Names follow what is in the row.
  function label(row) {
    const rowName = nameOf(row);
    row.tools.setAttribute("aria-label", fill("tools", rowName));
    for (const button of row.tools.children) button.setAttribute("aria-label", `${texts[button.className]}: ${rowName}`);
    for (const cell of row.cells) cell.input.setAttribute("aria-label", fill("cell", cell.label, rowName));
  }

  function labelAll() {
    const all = items();
    const focused = document.activeElement; // to be disabled takes the focus away
    all.forEach((item, index) => {
      const row = rowOf(item);
      label(row);
      item.dataset.number = fill("row", String(index + 1));
      row.tools.querySelector(".row_up").disabled = index === 0;
      row.tools.querySelector(".row_down").disabled = index === all.length - 1;
      // The one tool that Tab reaches must be one that works.
      const reached = row.tools.querySelector('[tabindex="0"]');
      if (!reached.disabled) return;
      const working = Array.from(row.tools.children).find((button) => !button.disabled);
      reach(row.tools, working);
      if (focused === reached) working.focus();
    });
    byId("no-rows").hidden = all.length > 0;
  }

  // ---- What a cell shows ----

  function show(cell, { value, rev, by }) {
    const before = cell.value;
    Object.assign(cell, { value, rev, by });
    if (cell.base && !isDirty(cell)) {
      cell.base = { value, rev };
      cell.input.value = textOf(value);
    } else if (!cell.base && !cell.unsaved) {
      cell.input.value = textOf(value);
    }
    cell.item.classList.toggle("overtaken", isDirty(cell) && cell.rev > cell.base.rev);
    if (cell.conflict) showConflict(cell, cell.conflict.mine);
    return textOf(before) !== textOf(value);
  }

  function cellChanged({ row, column, value }, at, by) {
    const cell = cellAt(row, column);
    const rev = revisionOf(at);
    if (!cell || rev <= cell.rev) return;
    const isNew = show(cell, { value, rev, by });
    if (cell.row.cells[0] === cell) label(cell.row);
    if (isNew) restart(cell.item, "fresh");
    if (by !== name || by === undefined) announce(fill("changed", by ?? texts.nobody, fill("cell", cell.label, nameOf(cell.row)), textOf(value)));
  }

  // ---- Writing ----

  function commit(cell) {
    if (!isDirty(cell)) return;
    const { base } = cell;
    const value = valueOf(cell.input.value, base.value);
    cell.base = { value: cell.value, rev: cell.rev };
    if (cell.unsaved?.sending) cell.next = { value };
    else write(cell, value, base);
  }

  // Writes over what was seen, `base`. If it cannot be said, it is said when the link is back.
  async function write(cell, value, base) {
    drop(cell);
    cell.unsaved = { value, rev: base.rev, sending: true };
    cell.input.value = textOf(value);
    cell.item.classList.add("unsaved");
    const answer = await link.send({ set: [{ row: cell.row.id, column: cell.column.id, value, if_rev: base.rev }] });
    const { next } = cell; // written over this before the answer came
    cell.next = null;
    const again = ["unsent", "unknown", "crowded", "busy"].includes(answer.code);
    if (again) {
      cell.unsaved = { value: (next ?? { value }).value, rev: base.rev, sending: false };
      notice(texts.unsaved, "bad");
      return;
    }
    cell.unsaved = null;
    cell.item.classList.remove("unsaved");
    if (next) write(cell, next.value, { rev: answer.type === "ok" ? revisionOf(answer.at) : base.rev });
    else if (answer.type === "ok") written(cell, value, revisionOf(answer.at));
    else if (answer.code === "stale") stale(cell, value, answer);
    else unwritten(cell, value, answer);
  }

  function written(cell, value, rev) {
    if (isDirty(cell)) cell.base = { value, rev }; // what is being written now is written over this
    if (rev > cell.rev) show(cell, { value, rev, by: name || undefined });
    else show(cell, cell); // somebody wrote again meanwhile
    restart(cell.item, "saved");
    label(cell.row);
  }

  function unwritten(cell, value, answer) {
    show(cell, cell);
    restart(cell.item, "shake");
    notice(rows.has(cell.row.id) ? fill("refused", why(answer)) : fill("gone", textOf(value)), "bad");
  }

  // The other's value is in the cell, one's own below it.
  function stale(cell, mine, answer) {
    const theirs = answer.rev > cell.rev ? answer : cell;
    show(cell, { value: theirs.value, rev: theirs.rev, by: theirs.by });
    if (textOf(cell.value) === textOf(mine)) return; // it had arrived before, or both wrote the same
    showConflict(cell, mine);
    restart(cell.item, "shake");
    announce(fill("says_stale", cell.by ?? texts.nobody));
  }

  function showConflict(cell, mine) {
    if (!cell.conflict) {
      const item = make("tr", { role: "row", class: "conflict", "data-column": cell.column.id });
      cell.conflict = { item };
      cell.row.item.after(item);
      cell.item.classList.add("disputed");
    }
    cell.conflict.mine = mine;
    const value = (key, shown) => [
      make("dt", {}, texts[key]),
      make("dd", { dir: "auto", class: key }, textOf(shown) || make("i", {}, texts.empty)),
    ];
    const button = (key, act) => {
      const made = make("button", { type: "button", class: key === "write_mine" ? "solid" : "quiet" }, texts[key]);
      made.addEventListener("click", () => {
        act();
        cell.input.focus();
      });
      return made;
    };
    const focused = cell.conflict.item.contains(document.activeElement) && document.activeElement.className;
    const question = make(
      "div",
      { role: "group", "aria-label": fill("cell", cell.label, nameOf(cell.row)) },
      make("p", {}, make("b", {}, fill("cell", cell.label, nameOf(cell.row))), " ", fill("conflict", cell.by ?? texts.nobody)),
      make("dl", {}, make("div", {}, ...value("theirs", cell.value)), make("div", {}, ...value("mine", mine))),
      make(
        "p",
        { class: "choice" },
        button("keep_theirs", () => drop(cell)),
        button("write_mine", () => write(cell, valueOf(textOf(mine), cell.value), cell)),
      ),
    );
    question.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      drop(cell);
      cell.input.focus();
    });
    cell.conflict.item.replaceChildren(make("td", { role: "cell", colspan: columns.length + 1 }, question));
    if (focused) cell.conflict.item.querySelector(`.${focused}`).focus();
  }

  function drop(cell) {
    cell.conflict?.item.remove();
    cell.conflict = null;
    cell.item.classList.remove("disputed");
  }

  // ---- Keys ----

  function press(event, cell) {
    if (event.isComposing || event.keyCode === 229) return;
    const { key } = event;
    if (key === "Escape") {
      cell.input.value = textOf(cell.value);
      cell.base = { value: cell.value, rev: cell.rev };
      cell.item.classList.remove("overtaken");
      cell.input.select();
    } else if (key === "Enter" || key === "ArrowDown" || key === "ArrowUp") {
      event.preventDefault();
      const all = items();
      const next = all[all.indexOf(cell.row.item) + (key === "ArrowUp" ? -1 : 1)];
      if (next) {
        rowOf(next).cells[cell.row.cells.indexOf(cell)].input.focus();
      } else if (key === "Enter") {
        commit(cell);
        cell.input.select();
      }
    }
  }

  // A toolbar is one stop of Tab; arrows go from tool to tool.
  function reach(tools, button) {
    for (const other of tools.children) other.tabIndex = other === button ? 0 : -1;
  }

  function pressTool(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const tools = event.currentTarget;
    const buttons = Array.from(tools.children).filter((button) => !button.disabled);
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    reach(tools, next);
    next.focus();
  }

  // ---- Rows ----

  let moving = false;

  // An element that moves loses the focus, and an input would think that it was left.
  function keepingFocus(change) {
    const focused = document.activeElement;
    const selection = focused?.tagName === "INPUT" ? [focused.selectionStart, focused.selectionEnd] : null;
    moving = true;
    change();
    if (focused && focused !== document.activeElement && body.contains(focused)) {
      const cell = items().flatMap((item) => rowOf(item).cells).find((other) => other.input === focused);
      const base = cell?.base;
      focused.focus();
      if (cell) cell.base = base;
      if (selection) focused.setSelectionRange(...selection);
    }
    moving = false;
  }

  // Puts a row and its questions at an index among the others.
  function put(row, index) {
    const others = items().filter((item) => item !== row.item);
    keepingFocus(() => {
      body.insertBefore(row.item, others[index] ?? null);
      for (const cell of row.cells) if (cell.conflict) row.item.after(cell.conflict.item);
      for (const other of others) for (const cell of rowOf(other).cells) if (cell.conflict) other.after(cell.conflict.item);
    });
    labelAll();
  }

  function takeAway(id) {
    const row = rows.get(id);
    if (!row) return;
    const lost = row.cells.find(isDirty);
    if (lost) notice(fill("gone", lost.input.value), "bad");
    row.cells.forEach(drop);
    const all = items();
    const beside = all[all.indexOf(row.item) + 1] ?? all[all.indexOf(row.item) - 1];
    const hadFocus = row.item.contains(document.activeElement);
    for (const cell of row.cells) cell.base = null;
    rows.delete(id);
    row.item.remove();
    for (const [who, editor] of editors) if (editor.cell.row === row) editors.delete(who);
    if (hadFocus) (beside ? rowOf(beside).cells[0].input : byId("add")).focus();
    labelAll();
  }

  async function ask(message) {
    const answer = await link.send(message);
    if (answer.type !== "ok") notice(fill("refused", why(answer)), "bad");
    return answer;
  }

  function move(row, step) {
    const all = items();
    const beside = all[all.indexOf(row.item) + step];
    if (beside) ask({ move: { row: row.id, [step < 0 ? "before" : "after"]: beside.dataset.row } });
  }

  async function insert(place) {
    const answer = await ask({ insert: { ...place, cells: {} } });
    if (answer.type !== "ok") return;
    wanted = answer.at;
    enter();
  }

  const insertBelow = (row) => insert({ after: row.id });

  // Goes to the row that one has made, when both the answer and the row are there.
  function enter() {
    if (wanted === "" || wanted !== recent.at) return;
    wanted = "";
    rows.get(recent.row)?.cells[0]?.input.focus();
  }

  async function remove(row) {
    const next = items()[items().indexOf(row.item) + 1]?.dataset.row;
    const cells = Object.fromEntries(row.cells.map((cell) => [cell.column.id, cell.value]));
    const answer = await ask({ delete: { row: row.id } });
    if (answer.type !== "ok") return;
    const undo = () => ask({ insert: { row: row.id, ...(rows.has(next) ? { before: next } : {}), cells } });
    notice(texts.deleted, "good", { label: texts.undo, run: undo });
  }

  // ---- Who edits what ----

  let told = null;
  let telling = 0;

  // From one cell to the next is one step, not two.
  function tellEditing(cell) {
    clearTimeout(telling);
    telling = setTimeout(() => {
      if (told === cell) return;
      told = cell;
      link.tell({ editing: cell && { row: cell.row.id, column: cell.column.id } });
    }, 0);
  }

  function showEditing({ who, user, row, column }) {
    const before = editors.get(who)?.cell;
    editors.delete(who);
    const cell = cellAt(row, column);
    if (cell) editors.set(who, { user, cell });
    for (const touched of new Set([before, cell])) if (touched) markEditors(touched);
  }

  function markEditors(cell) {
    cell.item.querySelector(".editor")?.remove();
    const [first, ...more] = Array.from(editors.entries()).filter(([, editor]) => editor.cell === cell);
    cell.item.classList.toggle("edited", first !== undefined);
    if (!first) return;
    const [who, { user }] = first;
    cell.item.dataset.tint = tint(user ?? who);
    const text = (user ?? texts.nobody) + (more.length > 0 ? ` +${more.length}` : "");
    cell.item.append(make("span", { class: "editor", dir: "auto" }, text));
  }

  // ---- The link ----

  const present = tallycast.present();

  // What is the same stays, so that nobody who writes is disturbed.
  function begin(state) {
    const same = JSON.stringify(state.columns) === JSON.stringify(columns);
    columns = state.columns;
    if (!same) {
      rows.clear();
      body.replaceChildren();
      makeHead();
    }
    const ids = new Set(state.rows.map((row) => row.id));
    for (const id of [...rows.keys()]) if (!ids.has(id)) takeAway(id);
    keepingFocus(() => {
      for (const told of state.rows) {
        const known = rows.get(told.id);
        const row = known ?? makeRow(told);
        if (known) row.cells.forEach((cell, index) => show(cell, told.cells[index]));
        body.append(row.item);
        for (const cell of row.cells) if (cell.conflict) row.item.after(cell.conflict.item);
      }
    });
    labelAll();
    byId("add").disabled = false;
  }

  function receive(message) {
    switch (message.type) {
      case "snapshot":
        begin(message.state);
        break;
      case "cells":
        for (const cell of message.cells) cellChanged(cell, message.at, message.by);
        break;
      case "row_inserted": {
        const rev = revisionOf(message.at);
        const row = rows.get(message.row) ?? makeRow({ id: message.row, cells: message.cells.map((value) => ({ value, rev, by: message.by })) });
        put(row, message.index);
        restart(row.item, "fresh");
        Object.assign(recent, { at: message.at, row: message.row });
        enter();
        break;
      }
      case "row_moved": {
        const row = rows.get(message.row);
        if (!row) break;
        put(row, message.index);
        restart(row.item, "fresh");
        break;
      }
      case "row_deleted":
        takeAway(message.row);
        break;
      case "listeners":
        tallycast.showListeners(message.count);
        break;
      case "members":
        present.are(message.users, name);
        break;
      case "joined":
        present.joined(message.user);
        break;
      case "left":
        present.left(message.user);
        break;
      case "editing":
        showEditing(message);
        break;
    }
  }

  // The stream stands, or begins anew because this window was too slow: who edits is told anew, both ways, and what could
  // not be said is said.
  function live() {
    const marked = Array.from(editors.values(), (editor) => editor.cell);
    editors.clear();
    marked.forEach(markEditors);
    if (told) link?.tell({ editing: { row: told.row.id, column: told.column.id } });
    for (const row of rows.values()) {
      for (const cell of row.cells) if (cell.unsaved && !cell.unsaved.sending) write(cell, cell.unsaved.value, cell.unsaved);
    }
  }

  byId("add").addEventListener("click", () => insert({}));

  naming((chosen) => {
    name = chosen;
    link?.connect();
  });
  link = openLink({
    where: () => ({ path, name }),
    post: (message) => ({ path, body: name ? { ...message, from: name } : message }),
    receive,
    live,
    transports: tallycast.transports,
  });
})();
