// The deck: decisions by keys and buttons, kept in the browser, saved as a table of corrections.
const deck = document.querySelector(".deck");
if (deck) review(deck);

function review(deck) {
  const data = Object.fromEntries(
    ["classes", "safe", "columns", "carried"].map((name) => [name, JSON.parse(deck.dataset[name])]),
  );
  const isServed = deck.dataset.served === "yes";
  const cards = [...deck.querySelectorAll(".card")];
  const find = (name) => deck.querySelector(`[name=${name}]`);
  const fields = ["class", "reason", "fold", "sure", "state", "search"].map(find);
  const [byClass, byReason, byFold, bySure, byState, bySearch] = fields;
  const target = find("target");
  const strip = deck.querySelector(".strip");
  const told = deck.querySelector(".told");
  const storage = `pipeline review ${deck.dataset.key}`;
  const state = restore();
  let current = null;

  function restore() {
    const empty = { decisions: {}, seen: [], undo: [] };
    try {
      return { ...empty, ...JSON.parse(localStorage.getItem(storage)) };
    } catch {
      return empty;  // kept nowhere: it lasts as long as the page is open
    }
  }

  function keep() {
    try {
      localStorage.setItem(storage, JSON.stringify(state));
    } catch {
      told.textContent = "This browser keeps nothing: save before you leave.";
    }
  }

  const given = (card) => ({ action: card.dataset.action, to: card.dataset.chosen });
  const decision = (card) => state.decisions[card.dataset.id] ?? given(card);
  const isFixed = (card) => card.dataset.label === "";
  const className = (index) => data.classes[Number(index)];

  function words(card) {
    const { action, to } = decision(card);
    if (action === "relabel") return `relabel to ${className(to)}`;
    return action || "open";
  }

  // What the filters leave.
  function shown() {
    const wanted = bySearch.value.trim().toLocaleLowerCase();
    return cards.filter((card) => {
      const { id, label, suggested, reasons, fold, confidence } = card.dataset;
      const isDecided = decision(card).action !== "";
      const text = `${id} ${className(label) ?? ""} ${className(suggested) ?? ""}`;
      return (byClass.value === "" || label === byClass.value || suggested === byClass.value)
        && (byReason.value === "" || reasons.split(" ").includes(byReason.value))
        && (byFold.value === "" || fold === byFold.value)
        && (Number(confidence) >= Number(bySure.value))
        && (byState.value === "" || (byState.value === "decided") === isDecided)
        && text.toLocaleLowerCase().includes(wanted);
    });
  }

  function draw() {
    const list = shown();
    if (!list.includes(current)) current = list[0] ?? null;
    // What is hidden or barred while it has the focus would take the keys with it.
    const focused = document.activeElement;
    const isLost = focused.closest(".card") && focused.closest(".card") !== current;
    if (deck.contains(focused) && isLost) deck.focus({ preventScroll: true });
    for (const card of cards) {
      card.hidden = card !== current;
      const thumb = thumbs.get(card);
      thumb.hidden = !list.includes(card);
      thumb.className = `thumb ${decision(card).action}`;
      thumb.classList.toggle("seen", state.seen.includes(card.dataset.id));
      thumb.tabIndex = card === current ? 0 : -1;
      thumb.toggleAttribute("aria-current", card === current);
      thumb.setAttribute("aria-label", `${card.dataset.id}: ${words(card)}`);
      card.querySelector(".decided").textContent = words(card);
    }
    for (const button of deck.querySelectorAll(".actions button")) {
      const needsCard = !["undo", "save"].includes(button.name);
      const isBarred = ["drop", "relabel"].includes(button.name) && current && isFixed(current);
      button.disabled = (needsCard && !current) || Boolean(isBarred)
        || (button.name === "undo" && state.undo.length === 0);
    }
    if (deck.contains(focused) && focused.disabled) deck.focus({ preventScroll: true });
    target.disabled = !current || isFixed(current);
    count(list);
  }

  function count(list) {
    const num = (action) => cards.filter((card) => decision(card).action === action).length;
    const seen = cards.filter((card) => state.seen.includes(card.dataset.id)).length;
    const at = current ? `Card ${list.indexOf(current) + 1} of ${list.length}` : "No card fits the filters";
    deck.querySelector(".progress").textContent = `${at}. ${seen} of ${cards.length} seen: `
      + `${num("keep")} kept, ${num("drop")} to drop, ${num("relabel")} to relabel.`;
    deck.querySelector("progress").value = seen;
  }

  function look(card) {
    if (!state.seen.includes(card.dataset.id)) state.seen.push(card.dataset.id);
  }

  function go(step) {
    const list = shown();
    if (current) look(current);
    keep();
    const at = list.indexOf(current) + step;
    select(list[Math.min(Math.max(at, 0), list.length - 1)] ?? null);
  }

  function select(card) {
    current = card;
    if (card) {
      const { action, to } = decision(card);
      target.value = action === "relabel" ? to : card.dataset.suggested;
      const thumb = thumbs.get(card);  // the strip alone moves, never the page
      strip.scrollTop = thumb.offsetTop - strip.offsetTop - strip.clientHeight / 2;
    }
    draw();
  }

  function decide(action) {
    if (!current || (isFixed(current) && action !== "keep")) return;
    const card = current;
    const list = shown();
    const to = action === "relabel" ? target.value : "";
    if (action === "relabel" && to === "") {
      told.textContent = "Choose a class first.";
      target.focus();
      return;
    }
    const { id, label } = card.dataset;
    state.undo.push([id, state.decisions[id] ?? null, state.seen.includes(id)]);
    state.decisions[id] = to === label && to !== "" ? { action: "keep", to: "" } : { action, to };
    if (!isFixed(card)) state.decisions[id].row = row(card);
    look(card);
    keep();
    told.textContent = `${id}: ${words(card)}.`;
    select(list[list.indexOf(card) + 1] ?? card);
    saveThere();
  }

  function undo() {
    const last = state.undo.pop();
    if (!last) return;
    const [id, before, wasSeen] = last;
    if (before) state.decisions[id] = before; else delete state.decisions[id];
    if (!wasSeen) state.seen = state.seen.filter((one) => one !== id);
    keep();
    const card = cards.find((one) => one.dataset.id === id);
    told.textContent = `Taken back: ${id} is ${card ? words(card) : "open"}.`;
    if (card && !shown().includes(card)) fields.forEach((field) => { field.value = field.name === "sure" ? "0" : ""; });
    select(card ?? current);
    saveThere();
  }

  // Rows of the table: who was looked at and kept has no action.
  function row(card) {
    const { action, to } = decision(card);
    const [id, probLabel, probSuggested] = JSON.parse(card.dataset.cells);
    const meant = action === "relabel" ? to : card.dataset.suggested;
    const changed = action === "relabel" && to !== card.dataset.suggested;
    const suggested = meant === "" ? "" : data.safe[Number(meant)];
    return [id, data.safe[Number(card.dataset.label)], suggested, probLabel,
      changed ? "" : probSuggested, action === "keep" ? "" : action];
  }

  // With them what was decided on images that have no card any more.
  function rows() {
    const ids = new Set(cards.map((card) => card.dataset.id));
    const others = Object.keys(state.decisions).filter((id) => !ids.has(id));
    const all = [
      ...data.carried,
      ...others.map((id) => state.decisions[id].row).filter((one) => one && one.at(-1)),
      ...cards.filter((card) => decision(card).action && !isFixed(card)).map(row),
    ];
    return [...new Map(all.map((one) => [one[0], one])).values()];
  }

  function csv() {
    const field = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [data.columns, ...rows()].map((row) => `${row.map(field).join(",")}\n`).join("");
  }

  const numCorrected = () => rows().filter((one) => one.at(-1)).length;

  function save() {
    if (isServed) {
      saveThere(true);
      return;
    }
    const { command, back } = deck.dataset;
    if (!numCorrected()) {
      told.textContent = back ? `Nothing is to be corrected any more; run: ${back}`
        : "Nothing to save: drop or relabel an image first.";
      return;
    }
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: url, download: "corrections.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    told.textContent = `Saved ${numCorrected()} corrections among your downloads; run: ${command} corrections.csv`;
  }

  // Served by `pipeline review`: every decision is written at once.
  let writing = Promise.resolve();
  function saveThere(isAsked = false) {
    if (!isServed) return;
    const decided = cards.filter((card) => decision(card).action && !isFixed(card));
    const body = JSON.stringify(decided.map((card) => {
      const { action, to } = decision(card);
      return [cards.indexOf(card), action, to === "" ? null : Number(to)];
    }));
    writing = writing.then(async () => {
      const headers = { "Content-Type": "application/json" };
      try {
        const answer = await fetch("corrections", { method: "POST", headers, body });
        if (!answer.ok) throw new Error(await answer.text());
        if (isAsked) told.textContent = await answer.text();
      } catch (error) {
        told.textContent = `Not saved (${error.message}); is 'pipeline review' still running?`;
      }
    });
  }

  const zoom = make("dialog", { className: "zoom" });
  const large = make("img", { alt: "" });
  const close = make("button", { type: "button", textContent: "Close (Esc)" });
  close.addEventListener("click", () => zoom.close());
  large.addEventListener("click", () => zoom.close());
  zoom.append(close, large);
  function open() {
    const image = current?.querySelector(".whole img");
    if (!image) return;
    large.src = isServed ? `image/${cards.indexOf(current)}` : image.src;
    large.alt = image.alt;
    if (!zoom.isConnected) deck.append(zoom);
    zoom.showModal();
  }

  const actions = {
    keep: () => decide("keep"), drop: () => decide("drop"), relabel: () => decide("relabel"),
    undo, save, previous: () => go(-1), next: () => go(1),
  };
  const keys = {
    k: "keep", d: "drop", r: "relabel", u: "undo", s: "save",
    arrowleft: "previous", arrowright: "next",
  };
  for (const [name, act] of Object.entries(actions)) {
    deck.querySelector(`button[name=${name}]`).addEventListener("click", act);
  }
  deck.addEventListener("keydown", (event) => {
    const isTyping = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || zoom.open) return;
    const key = event.key.toLowerCase();
    if (key === "o") open();
    else if (key in keys) actions[keys[key]]();
    else return;
    event.preventDefault();
  });
  deck.addEventListener("click", (event) => {
    if (event.target.closest(".whole")) open();
  });
  // Keys work where the mouse is, unless the focus is elsewhere.
  deck.addEventListener("pointerenter", () => {
    if (document.activeElement === document.body) deck.focus({ preventScroll: true });
  });
  fields.forEach((field) => field.addEventListener("input", () => select(shown()[0] ?? null)));

  const options = (values, name) => values.map((value) => make("option", { value, textContent: name(value) }));
  const used = (name) => [...new Set(cards.map((card) => card.dataset[name]))].filter((one) => one !== "")
    .sort((a, b) => Number(a) - Number(b));
  byClass.append(...options([...new Set([...used("label"), ...used("suggested")])], className));
  byFold.append(...options(used("fold"), (fold) => `fold ${fold}`));
  target.append(...options(data.classes.map((_, index) => String(index)), className));
  const thumbs = new Map(cards.map((card) => {
    const image = card.querySelector(".whole img");
    const inside = image ? make("img", { src: image.src, alt: "" }) : "?";
    const thumb = make("button", { type: "button" }, inside);
    thumb.addEventListener("click", () => select(card));
    return [card, thumb];
  }));
  strip.append(...thumbs.values());
  deck.querySelectorAll("[hidden]").forEach((one) => { one.hidden = false; });
  deck.classList.add("alive");
  select(cards.find((card) => !state.seen.includes(card.dataset.id)) ?? cards[0]);
}
