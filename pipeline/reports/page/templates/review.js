// The deck: decisions by keys and buttons, kept in the browser, saved as a table of corrections.
// Where `pipeline review` serves the page, its file holds them: the browser keeps what isn't written yet.
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
  let state = restore();
  let current = null;

  function restore() {
    const empty = { decisions: {}, seen: [], undo: [], unsaved: [] };
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
    compare();
    draw();
  }

  // Beside the card an image of each class in question that is surely right, to compare with.
  const examples = [...deck.querySelectorAll(".examples > div")];
  deck.querySelector(".examples").remove();
  function compare() {
    deck.querySelectorAll(".card .example").forEach((one) => one.remove());
    if (!current || isFixed(current)) return;
    for (const index of new Set([target.value, current.dataset.label])) {
      const found = examples.find((one) => one.dataset.class === index);
      if (!found) continue;
      found.className = "example";
      current.querySelector(".pictures").append(found);
    }
  }
  target.addEventListener("change", compare);

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
    state.undo.push([id, decision(card), state.seen.includes(id)]);
    state.decisions[id] = to === label && to !== "" ? { action: "keep", to: "" } : { action, to };
    if (!isFixed(card)) state.decisions[id].row = row(card);
    state.unsaved.push(id);
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
    state.decisions[id] = before ?? { action: "", to: "" };
    state.unsaved.push(id);
    if (!wasSeen) state.seen = state.seen.filter((one) => one !== id);
    keep();
    const card = cards.find((one) => one.dataset.id === id);
    told.textContent = `Taken back: ${id} is ${card ? words(card) : "open"}.`;
    if (card && !shown().includes(card)) fields.forEach((field) => { field.value = field.name === "sure" ? "0" : ""; });
    select(card ?? current);
    saveThere();
  }

  // Rows of the table.
  function row(card) {
    const { action, to } = decision(card);
    const [id, probLabel, probSuggested] = JSON.parse(card.dataset.cells);
    const meant = action === "relabel" ? to : card.dataset.suggested;
    const changed = action === "relabel" && to !== card.dataset.suggested;
    const suggested = meant === "" ? "" : data.safe[Number(meant)];
    return [id, data.safe[Number(card.dataset.label)], suggested, probLabel,
      changed ? "" : probSuggested, action];
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

  function save() {
    if (isServed) {
      saveThere(true);
      return;
    }
    if (rows().length) told.textContent = download();
    else told.textContent = "Nothing to save: decide on an image first.";
  }

  // Returns what became of it, and what to do with it.
  function download() {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: url, download: "corrections.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    const num = rows().filter((one) => one.at(-1) !== "keep").length;
    const { command, after, back } = deck.dataset;
    const saved = `Saved ${rows().length} decisions, ${num} of them corrections, as corrections.csv among your downloads;`;
    const undone = num || !back ? "" : `. To take back what is in effect: ${back}`;
    return `${saved} run, with the file's path: ${command} corrections.csv, then: ${after}${undone}`;
  }

  // Served by `pipeline review`: what was decided or taken back is written at once.
  let writing = Promise.resolve();
  let isLeaving = false;  // the page that comes may be older than what is answered from now on
  addEventListener("beforeunload", () => { isLeaving = true; });
  function saveThere(isAsked = false) {
    if (!isServed) return;
    writing = writing.then(async () => {
      const sent = [...state.unsaved];
      const changed = cards.filter((card) => sent.includes(card.dataset.id) && !isFixed(card));
      const body = JSON.stringify(changed.map((card) => {
        const { action, to } = decision(card);
        return [cards.indexOf(card), action, to === "" ? null : Number(to)];
      }));
      const headers = { "Content-Type": "application/json" };
      try {
        const answer = await fetch("corrections", { method: "POST", headers, body });
        const text = await answer.text();
        if (!answer.ok) throw new Error(text);
        if (!isLeaving) {
          state.unsaved = state.unsaved.slice(sent.length);
          keep();
        }
        if (isAsked) told.textContent = text;
      } catch (error) {
        told.textContent = isAsked ? `Not written (${error.message}). ${download()}`
          : `Not saved (${error.message}): is 'pipeline review' still running? It is kept here; `
            + "Save downloads it.";
      }
    });
  }

  const zoom = make("dialog", { className: "zoom" });
  const large = make("img", { alt: "" });
  const what = make("p", {});
  const close = make("button", { type: "button", textContent: "Close (Esc)" });
  close.addEventListener("click", () => zoom.close());
  large.addEventListener("click", () => zoom.close());
  zoom.addEventListener("close", () => deck.focus({ preventScroll: true }));
  zoom.append(close, what, large);
  zoom.setAttribute("aria-label", "The whole picture");
  function open() {
    if (!current?.querySelector(".whole img")) return;
    if (!zoom.isConnected) deck.append(zoom);
    enlarge();
    zoom.showModal();
  }

  // Keys work here, too: the next card's picture takes the place.
  function enlarge() {
    const image = current?.querySelector(".whole img");
    if (!image) {
      zoom.close();
      return;
    }
    const keys = isFixed(current) ? "" : ` K keeps, D drops, R relabels to ${className(target.value) ?? "the class chosen"}.`;
    what.textContent = `${current.querySelector(".labelled").textContent} – ${words(current)}; ${current.dataset.id}.${keys}`;
    large.onerror = () => {
      large.onerror = null;
      large.src = image.src;
      what.textContent += ". The file can't be read any more: this is the page's own picture.";
    };
    large.src = isServed ? `image/${cards.indexOf(current)}` : image.src;
    large.alt = image.alt;
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
  // Keys work where the deck is before the eyes, unless something else has the focus.
  function isMeant(place) {
    if (deck.contains(place)) return true;
    const { top, bottom } = deck.getBoundingClientRect();
    return place === document.body && top < innerHeight / 2 && bottom > innerHeight / 3;
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !isMeant(event.target)) return;
    if (event.target === target && event.key === "Enter") {
      decide("relabel");
      deck.focus({ preventScroll: true });
    } else if (["INPUT", "SELECT"].includes(event.target.tagName)) {
      if (event.key !== "Escape") return;
      deck.focus({ preventScroll: true });
    } else {
      const key = event.key.toLowerCase();
      if (key === "o") { if (zoom.open) zoom.close(); else open(); }
      else if (key === "c" && !zoom.open) target.focus();
      else if (key in keys) actions[keys[key]]();
      else return;
      if (zoom.open) enlarge();
    }
    event.preventDefault();
  });
  // Another tab with the same page: what is decided there counts here, too.
  addEventListener("storage", (event) => {
    if (event.key !== storage) return;
    state = restore();
    draw();
  });
  deck.addEventListener("click", (event) => {
    if (event.target.closest(".whole")) open();
  });
  fields.forEach((field) => field.addEventListener("input", () => select(shown()[0] ?? null)));

  // Without the marks that set names apart: one types the first letters to choose.
  const options = (values, name) => values.map((value) => make("option", { value, textContent: name(value).replace(/[\u2068\u2069]/g, "") }));
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
  if (isServed) {  // the file's decisions stand in the page; what it lacks is sent again
    state.decisions = Object.fromEntries(
      Object.entries(state.decisions).filter(([id]) => state.unsaved.includes(id)),
    );
    if (state.unsaved.length) saveThere();
  }
  select(cards.find((card) => !state.seen.includes(card.dataset.id)) ?? cards[0]);
}
