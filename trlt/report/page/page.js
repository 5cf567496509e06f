"use strict";
// The browser of samples. Every text becomes a text node: nothing of the data is ever read as HTML.
(() => {
  const HIGH = 58; // of an item in the list, as in the style
  const RIGHT = 0.5; // from this IoU on a span counts as right, as where rows are counted
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const TASKS = { multi_choice: "multiple choice", grounding: "grounding", grounded_qa: "grounded QA" };
  const read = (id) => { const block = document.getElementById(id); return block && JSON.parse(block.textContent); };
  const make = (name, attributes = {}, ...children) => {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== false) one.setAttribute(key, value);
    one.append(...children.filter((child) => child !== null));
    return one;
  };
  const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const between = ([start, end]) => `${fixed(start, 1)} to ${fixed(end, 1)} s`;
  const seconds = (value) => `${Number(value.toFixed(1))} s`;

  const index = read("index");
  if (!index) return;
  const count = index.id.length, runs = index.runs;
  const folded = index.id.map((id, i) => `${id}\n${index.question[i] ?? ""}`.toLowerCase());
  const chunks = new Map(), drawn = new Map();
  const state = { run: -1, against: -1, task: "", source: "", klass: "", outcome: "", frames: "", search: "", sort: "order" };
  let shown = [], chosen = -1, time = 0;

  // -- the list: which samples, in which order ------------------------------------------------------------------------

  const holds = (run, i) => index.by[run].n[i] !== null;
  const base = (i) => (state.run >= 0 ? state.run : runs.findIndex((_, run) => holds(run, i)));
  const value = (key, i) => { const run = base(i); return run < 0 ? null : index.by[run][key][i]; };
  // One sign everywhere: the later run on the page minus the earlier one, whichever of them was chosen in which box.
  const pair = () => [Math.min(state.run, state.against), Math.max(state.run, state.against)];
  const change = (i) => { const [a, b] = pair(); return index.by[b].mean[i] - index.by[a].mean[i]; };
  const outcomes = {
    right: (i) => value("n", i) > 0 && value("right", i) === value("n", i),
    mixed: (i) => value("right", i) > 0 && value("right", i) < value("n", i),
    wrong: (i) => value("n", i) > 0 && value("right", i) === 0,
    error: (i) => value("n", i) === 0,
  };
  const orders = {
    order: () => 0,
    delta: (i) => value("delta", i) ?? -1,
    low: (i) => -(value("mean", i) ?? Infinity),
    high: (i) => value("mean", i) ?? -Infinity,
    better: (i) => change(i),
    worse: (i) => -change(i),
  };

  function keep(i) {
    if (state.run >= 0 && !holds(state.run, i)) return false;
    if (state.against >= 0 && !(index.by[state.run].n[i] && index.by[state.against].n[i])) return false;
    if (state.task !== "" && index.task[i] !== Number(state.task)) return false;
    if (state.source !== "" && index.source[i] !== Number(state.source)) return false;
    if (state.klass !== "" && value("class", i) !== Number(state.klass)) return false;
    if (state.outcome !== "" && !outcomes[state.outcome](i)) return false;
    if (state.frames !== "" && index.frames[i] < 0) return false;
    return state.search === "" || folded[i].includes(state.search);
  }

  function refresh(keeping = -1) {
    shown = [];
    for (let i = 0; i < count; i++) if (keep(i)) shown.push(i);
    if (state.sort !== "order") {
      const keys = new Map(shown.map((i) => [i, orders[state.sort](i)]));
      shown.sort((a, b) => keys.get(b) - keys.get(a) || a - b);
    }
    status.textContent = `${shown.length.toLocaleString("en")} of ${count.toLocaleString("en")} samples`;
    difference.textContent = state.against < 0 ? "" : `Differences: reward of ${pair().map((run) => runs[run].name).reverse().join(" - ")}`;
    drawn.clear();
    rows.replaceChildren(...(shown.length ? [] : [make("p", { class: "none" }, "No sample fits these filters.")]));
    rows.style.height = `${shown.length * HIGH}px`;
    list.style.maxHeight = `${Math.max(1, shown.length) * HIGH + 2}px`; // with its border
    list.scrollTop = 0;
    select(shown.includes(keeping) ? keeping : shown.length ? shown[0] : -1, false);
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HIGH) - 4);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HIGH) + 4);
    // What stays is left where it is: a row that was drawn anew between press and release would miss its click.
    const staying = new Set(shown.slice(first, last));
    for (const [i, one] of drawn) if (!staying.has(i)) { one.remove(); drawn.delete(i); }
    let next = null;
    for (let place = last - 1; place >= first; place--) {
      const i = shown[place];
      if (!drawn.has(i)) { drawn.set(i, item(place)); rows.insertBefore(drawn.get(i), next); }
      next = drawn.get(i);
      next.setAttribute("aria-selected", i === chosen);
    }
    list.setAttribute("aria-activedescendant", chosen >= 0 ? `item-${chosen}` : "");
  }

  function item(place) {
    const i = shown[place], meta = [TASKS[index.tasks[index.task[i]]] ?? index.tasks[index.task[i]], index.sources[index.source[i]]];
    const one = make("div", { id: `item-${i}`, class: "item", role: "option",
      "aria-setsize": shown.length, "aria-posinset": place + 1 });
    one.style.top = `${place * HIGH}px`;
    if (state.against >= 0) {
      meta.unshift(`${change(i) >= 0 ? "+" : ""}${fixed(change(i))}`);
      meta.push(pair().map((run) => outcome(run, i)).join(" → "));
    } else if (base(i) >= 0) meta.push(outcome(base(i), i));
    if (value("class", i) !== null) meta.push(index.classes[value("class", i)]);
    if (value("delta", i) !== null && value("n", i) > 1) meta.push(`Δ ${fixed(value("delta", i))}`);
    one.append(make("span", { dir: "auto" }, index.question[i] ?? index.id[i]), make("span", { class: "meta" }, meta.join(" · ")));
    one.addEventListener("click", () => { select(i); if (below()) open(); });
    return one;
  }

  function outcome(run, i) {
    const n = index.by[run].n[i], right = index.by[run].right[i];
    if (n === 0) return "error";
    return n === 1 ? (right ? "right" : "wrong") : `${right}/${n} right`;
  }

  function select(i, link = true) {
    chosen = i;
    const place = shown.indexOf(i);
    if (place >= 0) {
      const top = place * HIGH;
      if (top < list.scrollTop) list.scrollTop = top;
      else if (top + HIGH > list.scrollTop + list.clientHeight) list.scrollTop = top + HIGH - list.clientHeight;
    }
    draw();
    detail.replaceChildren(...(i >= 0 ? view(i) : []));
    if (link && i >= 0) try { history.replaceState(null, "", `#sample=${encodeURIComponent(index.id[i])}`); } catch { /* not here */ }
  }

  // On a narrow screen the sample lies below the list: a tap must bring it into view.
  const below = () => detail.getBoundingClientRect().top >= list.getBoundingClientRect().bottom;
  const show = (box, block) => { box.focus({ preventScroll: true }); box.scrollIntoView({ block, behavior: "instant" }); };
  const open = () => show(detail, "start");

  const move = (by) => {
    if (!shown.length) return;
    const place = Math.min(shown.length - 1, Math.max(0, shown.indexOf(chosen) + by));
    select(shown[place]);
  };

  // -- one sample -----------------------------------------------------------------------------------------------------

  function sample(i) {
    const chunk = Math.floor(i / index.chunk);
    if (!chunks.has(chunk)) {
      if (chunks.size > 8) chunks.delete(chunks.keys().next().value);
      chunks.set(chunk, read(`samples-${chunk}`));
    }
    const [options, gold, answer, spans, duration, clip, video, texts, entries] = chunks.get(chunk)[i % index.chunk];
    const pictures = index.frames[i] >= 0 ? read(`frames-${index.frames[i]}`) : null;
    return { options, gold, answer, spans, duration, clip, video, texts, entries, pictures };
  }

  function view(i) {
    const it = sample(i), task = index.tasks[index.task[i]], back = button("Back to the list", () => show(list, "center"));
    back.className = "back";
    const where = [TASKS[task] ?? task, index.sources[index.source[i]], it.video].filter(Boolean);
    if (it.duration !== null) where.push(seconds(it.duration));
    if (it.clip) where.push(`seconds ${it.clip[0]} to ${it.clip[1]} of the file`);
    const parts = [make("div", { class: "steps" },
      back, make("span", {}, button("‹ Previous", () => move(-1)), " ", button("Next ›", () => move(1))))];
    const missing = "The text isn't known: the samples that were asked aren't where the run noted them.";
    parts.push(make("h3", { dir: "auto", id: "question" }, index.question[i] ?? missing));
    parts.push(make("p", { class: "where", dir: "auto" }, `${index.id[i]} · ${where.join(" · ")}`));
    if (it.options) {
      parts.push(make("ol", { class: "options" }, ...it.options.map((option, place) =>
        make("li", { class: place === it.gold ? "gold" : "", dir: "auto" }, `${letter(place)}. ${option}`,
          place === it.gold ? make("span", { class: "mark" }, "gold") : null))));
    } else if (it.answer) {
      parts.push(make("ol", { class: "options" }, make("li", { class: "gold", dir: "auto" }, it.answer, make("span", { class: "mark" }, "gold"))));
    }
    if (it.spans) parts.push(make("p", { class: "golden" }, it.spans.map(between).join(", "), make("span", { class: "mark" }, "gold")));
    parts.push(...timeline(i, it), columns(i, it));
    return parts;
  }

  const letter = (place) => LETTERS[place] ?? String(place + 1);
  const button = (text, act) => { const one = make("button", { type: "button" }, text); one.addEventListener("click", act); return one; };

  const said = (answer) => (answer[3] ? [answer[3], ...(answer[10] ?? [])] : []);

  function timeline(i, it) {
    const predicted = it.entries.flatMap((entry) => (Array.isArray(entry) ? entry.flatMap(said) : []));
    const spans = [...(it.spans ?? []), ...predicted], pictures = it.pictures;
    const last = pictures ? pictures[pictures.length - 1][0] : 0;
    const length = it.duration || Math.max(last, ...spans.map((span) => span[1] ?? 0));
    if (!length || (!spans.length && !pictures)) return [noFrames(i, it)];
    const parts = [], grid = make("div", { class: "line" });
    const add = (name, what, label) => grid.append(make("span", { class: "name", title: label ?? null }, name), what);
    const image = make("img", { alt: "" }), at = make("span", { class: "at" });
    const film = make("div", { class: "film" });
    if (pictures) {
      parts.push(make("div", { class: "stage" }, image, at));
      pictures.forEach(([when, jpeg], place) => {
        const one = button("", () => seek(pictures[place][0]));
        one.append(make("img", { src: `data:image/jpeg;base64,${jpeg}`, alt: `frame at ${seconds(when)}` }));
        film.append(one);
      });
      add("frames", film);
    } else parts.push(noFrames(i, it));
    if (it.spans) add("gold", track(it.spans, "gold", length), "gold");
    it.entries.forEach((entry, run) => {
      if (!Array.isArray(entry) || index.tasks[index.task[i]] === "multi_choice") return;
      entry.forEach((answer, place) => {
        const several = it.entries.filter(Array.isArray).length > 1;
        const name = several ? `${LETTERS[run]} ${place + 1}` : `${place + 1}`;
        add(name, track(said(answer), `run-${run % 6}${answer[5] < RIGHT ? " miss" : ""}`, length, answer[5]), `${runs[run].name}, answer ${place + 1}`);
      });
    });
    const cursor = make("div", { class: "cursor", role: "slider", tabindex: 0, "aria-label": "Time in the video", "aria-valuemin": 0, "aria-valuemax": length });
    const knob = make("b");
    cursor.append(make("span", {}, "0"), make("span", {}, seconds(length / 2)), make("span", {}, seconds(length)), knob);
    [0, 0.5, 1].forEach((share, place) => { cursor.children[place].style.left = `${100 * share}%`; });
    add("time", cursor);
    parts.push(grid);
    if (predicted.length) parts.push(make("p", { class: "note" }, `Pale: IoU below ${RIGHT}.`));

    function seek(to) {
      time = Math.min(length, Math.max(0, to));
      knob.style.left = `${(100 * time) / length}%`;
      cursor.setAttribute("aria-valuenow", time.toFixed(1));
      cursor.setAttribute("aria-valuetext", seconds(time));
      if (!pictures) return;
      let near = 0;
      pictures.forEach(([when], place) => { if (Math.abs(when - time) < Math.abs(pictures[near][0] - time)) near = place; });
      [...film.children].forEach((one, place) => one.setAttribute("aria-pressed", place === near));
      image.src = `data:image/jpeg;base64,${pictures[near][1]}`;
      image.alt = `frame at ${seconds(pictures[near][0])}`;
      at.textContent = `at ${seconds(time)}: frame of ${seconds(pictures[near][0])}`;
    }
    const pointed = (event) => { const box = cursor.getBoundingClientRect(); seek(((event.clientX - box.left) / box.width) * length); };
    grid.addEventListener("pointerdown", (event) => {
      if (event.target.closest(".track, .cursor")) { pointed(event); if (event.target.closest(".cursor")) cursor.setPointerCapture(event.pointerId); }
    });
    cursor.addEventListener("pointermove", (event) => { if (cursor.hasPointerCapture(event.pointerId)) pointed(event); });
    cursor.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -length / 40, ArrowRight: length / 40, Home: -length, End: length }[event.key];
      if (by !== undefined) { event.preventDefault(); event.stopPropagation(); seek(time + by); }
    });
    seek(it.spans ? it.spans[0][0] : 0);
    return parts;
  }

  const noFrames = (i, it) => make("p", { class: "note" }, it.video ? "No frames of this clip are in the page." : "");

  function track(spans, style, length, iou = null) {
    const said = (spans.map(between).join(", ") || "no span") + (iou === null ? "" : `, IoU ${fixed(iou)}`);
    const one = make("div", { class: `track ${style}`, title: said, role: "img", "aria-label": said });
    for (const [start, end] of spans) {
      if (start === null || end === null) continue;
      const bar = make("i"), from = Math.min(1, Math.max(0, start / length)), to = Math.min(1, Math.max(0, end / length));
      bar.style.left = `${100 * from}%`;
      bar.style.width = `${100 * Math.max(0, to - from)}%`;
      one.append(bar);
    }
    return one;
  }

  function columns(i, it) {
    const box = make("div", { class: "columns" });
    const several = it.entries.filter((entry) => entry !== null).length > 1;
    it.entries.forEach((entry, run) => {
      if (entry === null) return;
      const name = several ? `${LETTERS[run]}: ${runs[run].name}` : runs[run].name;
      const one = make("section", { class: `run run-${run % 6}`, "aria-label": name }, make("h4", {}, name));
      one.append(make("p", { class: "sum" }, Array.isArray(entry) ? together(i, run) : `not asked: ${entry}`));
      if (Array.isArray(entry)) entry.forEach((answer, place) => one.append(card(it, i, answer, place)));
      box.append(one);
    });
    return box;
  }

  function together(i, run) {
    const by = index.by[run], words = [];
    if (by.n[i] > 1) words.push(`${by.right[i]} of ${by.n[i]} right`);
    if (by.iou[i] !== null) words.push(by.n[i] > 1 ? `mean IoU ${fixed(by.iou[i])}` : `IoU ${fixed(by.iou[i])}`);
    if (by.delta[i] !== null && by.n[i] > 1) words.push(`Δ = max - mean ${fixed(by.delta[i])}`);
    words.push(by.n[i] > 1 ? `mean reward ${fixed(by.mean[i])}` : `reward ${fixed(by.mean[i])}`);
    return words.join(", ") + (by.class[i] !== null ? `: ${index.classes[by.class[i]]}` : "");
  }

  function card(it, i, [text, option, words, span, right, iou, format, reward, tokens, finished, further], place) {
    const task = index.tasks[index.task[i]], said = [];
    if (task !== "grounding") said.push(option !== null ? `${letter(option)}. ${it.options?.[option] ?? ""}` : words || "no answer");
    if (task !== "multi_choice") said.push(span ? [span, ...(further ?? [])].map(between).join(", ") : "no span");
    const scores = [];
    if (iou !== null) scores.push(`IoU ${fixed(iou)}`);
    scores.push(`format ${format}`, `reward ${fixed(reward)}`, `${tokens} tokens`);
    if (!finished) scores.push("cut off at the token limit");
    const verdict = make("span", { class: right ? "right" : "wrong" }, right ? "✓ right" : "✗ wrong");
    return make("div", { class: "answer" },
      make("div", { class: "read" }, make("span", { dir: "auto" }, `${place + 1}. ${said.join("; ")}`), verdict),
      make("div", { class: "scores" }, scores.join(" · ")), completion(it.texts[text]));
  }

  // The longest first: a mark may begin with another.
  const MARKS = new RegExp(`(${[...index.marks].sort((a, b) => b.length - a.length).map((mark) => mark.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&")).join("|")})`);

  function completion(text) {
    const box = make("p", { class: "text", dir: "auto" });
    let thinking = false;
    for (const part of text.split(MARKS)) {
      if (index.marks.includes(part)) {
        if (index.reasoning.some(([open]) => part === open)) thinking = true;
        else if (index.reasoning.some(([, close]) => part === close)) thinking = false;
        box.append(make("span", { class: "tag" }, part));
      } else if (part) box.append(thinking ? make("span", { class: "think" }, part) : part);
    }
    return box;
  }

  // -- the frame around it --------------------------------------------------------------------------------------------

  const status = make("span", { role: "status" }), difference = make("span", { class: "difference" });
  const keys = make("span", { class: "keys" });
  for (const [key, what] of [["j", ""], ["k", " next, previous  "], ["/", " search  "], ["Enter", " open  "], ["Esc", " back"]]) keys.append(make("kbd", {}, key), what || " ");
  const rows = make("div", { class: "rows", role: "presentation" });
  const list = make("div", { class: "list", role: "listbox", tabindex: 0, "aria-label": "Samples" }, rows);
  const detail = make("article", { class: "detail", tabindex: -1, "aria-label": "Sample" });
  const filters = make("div", { class: "filters", role: "search" });

  function choice(label, key, entries, numbers = false) {
    const box = make("select", { "data-key": key }, ...entries.map(([name, text]) => make("option", { value: name }, text)));
    box.addEventListener("change", () => {
      state[key] = numbers ? Number(box.value) : box.value;
      if (key === "run" || key === "against") settle();
      refresh();
    });
    filters.append(make("label", {}, label, box));
    return box;
  }
  const named = (names, all) => [["", all], ...names.map((name, place) => [place, name])];
  const search = make("input", { type: "search", placeholder: "question or id", "aria-label": "Search question or id" });
  filters.append(make("label", { class: "search" }, "search", search));
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.search = search.value.trim().toLowerCase(); refresh(); }, 80);
  });
  const boxes = {};
  if (runs.length > 1) {
    boxes.run = choice("run", "run", [[-1, "any"], ...runs.map((run, place) => [place, run.name])], true);
    boxes.against = choice("compared with", "against", [[-1, "none"], ...runs.map((run, place) => [place, run.name])], true);
  } else state.run = 0;
  if (index.tasks.length > 1) choice("task", "task", named(index.tasks.map((task) => TASKS[task] ?? task), "all"));
  if (index.sources.length > 1) choice("source", "source", named(index.sources, "all"));
  if (index.classes.length) choice("class", "klass", named(index.classes, "all"));
  const answers = choice("answers", "outcome", [["", "all"], ["right", "all right"], ["mixed", "some right"], ["wrong", "none right"], ["error", "errors"]]);
  answers.title = "A span is right from an IoU of 0.5 on";
  if (index.frames.some((block) => block >= 0) && index.frames.some((block) => block < 0)) choice("frames", "frames", [["", "all"], ["with", "with frames"]]);
  boxes.sort = choice("order", "sort", [["order", "original order"], ["delta", "Δ (max - mean IoU)"], ["low", "lowest reward"], ["high", "highest reward"],
    ["better", "gained most"], ["worse", "lost most"]]);

  function settle() { // two runs are compared only where both are chosen, and are two
    if (state.run < 0 || state.against === state.run) state.against = -1;
    if (boxes.against) {
      boxes.against.value = state.against;
      boxes.against.disabled = state.run < 0;
    }
    for (const option of boxes.sort.options) option.hidden = option.disabled = ["better", "worse"].includes(option.value) && state.against < 0;
    if (state.against < 0 && ["better", "worse"].includes(state.sort)) state.sort = boxes.sort.value = "order";
  }

  list.addEventListener("scroll", draw, { passive: true });
  addEventListener("resize", draw);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape") {
      if (event.target === search) { search.value = state.search = ""; refresh(); }
      if (event.target.closest("#samples")) list.focus();
      return;
    }
    if (typing) { if (event.target === search && event.key === "Enter") list.focus(); return; }
    const inside = list.contains(event.target), page = Math.max(1, Math.floor(list.clientHeight / HIGH) - 1);
    const steps = { j: 1, k: -1, ...(inside ? { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -count, End: count } : {}) };
    if (event.key in steps) { event.preventDefault(); move(steps[event.key]); }
    else if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === "Enter" && inside) { event.preventDefault(); open(); }
  });

  const notes = index.notes.length ? [make("ul", { class: "warnings" }, ...index.notes.map((note) => make("li", {}, note)))] : [];
  document.getElementById("browser").replaceChildren(...notes, filters, make("div", { class: "status" }, status, difference, keys), make("div", { class: "browse" }, list, detail));
  let linked = -1;
  try { if (location.hash.startsWith("#sample=")) linked = index.id.indexOf(decodeURIComponent(location.hash.slice(8))); } catch { /* no id */ }
  settle();
  refresh(linked);
  if (linked >= 0) below() ? open() : document.getElementById("samples").scrollIntoView();
})();
