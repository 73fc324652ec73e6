"use strict";
// The list of samples. What it shows comes from the page itself; texts of samples are only ever set as text.
(() => {
  const $ = (id) => document.getElementById(id);
  const ROW = 30;
  // Browsers give up on elements that are higher than this; beyond it the list scrolls faster than its rows.
  const HIGHEST = 15_000_000;
  const WORDS = ["wrong", "right", "graded", "unscored"];
  const SIGNS = ["✗", "✓", "·", "–"];

  const theme = $("theme");
  const THEMES = ["auto", "light", "dark"];
  const setTheme = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
    theme.value = name;
  };
  let stored = "auto";
  try { stored = localStorage.getItem("host-report-theme") || "auto"; } catch { /* a browser may keep nothing */ }
  setTheme(THEMES.includes(stored) ? stored : "auto");
  theme.hidden = false;
  theme.onclick = () => {
    const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
    setTheme(next);
    try { localStorage.setItem("host-report-theme", next); } catch { /* then it holds for this page only */ }
  };

  const meta = JSON.parse($("meta").textContent);
  if (!meta || !$("browser")) return;
  const PAIRS = meta.runs.length > 1;

  const el = (tag, name, ...children) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    for (const child of children) if (child !== null && child !== undefined) element.append(child);
    return element;
  };
  const time = (ms) => ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms`
    : ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60_000).toFixed(1)} min`;
  const number = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");
  const pause = () => new Promise((resolve) => setTimeout(resolve));

  const unpack = async (element) => {
    const letters = atob(element.textContent);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    return text.split("\n").filter((line) => line).map((line) => JSON.parse(line));
  };

  // Rows of the list: [id, unit, repeat, target, [[verdict, ms, answer] or null, ...], mark]. The mark is the
  // comparison's: of all repeats of a sample whether it flipped, and whether both runs have one record of it.
  const rows = [];
  const GAINED = 1, LOST = 2, OTHER_RECORD = 3;
  const has = (row, test) => row[4].some((side) => side && test(side[0]));
  const FILTERS = [
    ["all", "All", () => true],
    ["scored", "Scored", (row) => has(row, (v) => v !== 3)],
    ["unscored", "Unscored", (row) => has(row, (v) => v === 3)],
    ["right", "Right", (row) => has(row, (v) => v === 1)],
    ["wrong", "Wrong", (row) => has(row, (v) => v === 0)],
  ];
  if (PAIRS) {
    FILTERS.push(["flipped", "Flipped", (row) => row[5] === GAINED || row[5] === LOST]);
    FILTERS.push(["lost", "A right, B wrong", (row) => row[5] === LOST]);
    FILTERS.push(["won", "A wrong, B right", (row) => row[5] === GAINED]);
    FILTERS.push(["changed", "Another record in B", (row) => row[5] === OTHER_RECORD]);
    FILTERS.push(["alone", "In one run only", (row) => row[4].includes(null)]);
  }
  let filter = FILTERS[0];
  let unit = -1;
  let hits = null;
  let shown = [];
  let chosen = -1;

  // The list: only the rows that can be seen are there.
  const list = $("list"), space = $("space"), status = $("status");
  const height = () => Math.min(shown.length * ROW, HIGHEST);
  const firstVisible = () => {
    const all = shown.length * ROW, reach = height() - list.clientHeight;
    return all <= HIGHEST || reach <= 0 ? list.scrollTop / ROW
      : list.scrollTop / reach * (shown.length - list.clientHeight / ROW);
  };
  const draw = () => {
    const first = firstVisible(), from = Math.max(0, Math.floor(first) - 4);
    const to = Math.min(shown.length, Math.ceil(first + list.clientHeight / ROW) + 4);
    const shift = list.scrollTop - first * ROW;
    const drawn = [];
    for (let at = from; at < to; at++) {
      const element = rowElement(shown[at]);
      element.style.top = `${shift + at * ROW}px`;
      drawn.push(element);
    }
    space.replaceChildren(...drawn);
    const selected = space.querySelector('[aria-selected="true"]');
    if (selected) list.setAttribute("aria-activedescendant", selected.id);
    else list.removeAttribute("aria-activedescendant");
  };
  const sign = (side) => {
    const element = el("span", side ? `v v${side[0]}` : "v dim", side ? SIGNS[side[0]] : "∅");
    element.title = side ? WORDS[side[0]] : "not in this run";
    return element;
  };
  const rowElement = (index) => {
    const [id, , repeat, target, sides] = rows[index];
    const name = el("span", "", repeat ? `${id} #${repeat}` : id);
    const answer = (side) => el("span", side ? "" : "dim", side ? side[2] : "");
    const row = PAIRS
      ? el("div", "row pairs", el("span", "v", sign(sides[0]), " ", sign(sides[1])), name, answer(sides[0]), answer(sides[1]),
          el("span", "right dim", target ?? ""))
      : el("div", "row", sign(sides[0]), name, answer(sides[0]), el("span", "dim", target ?? ""), el("span", "ms", time(sides[0][1])));
    row.id = `r${index}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(index === chosen));
    row.onclick = () => open(index);
    return row;
  };
  const heads = PAIRS ? ["", "Sample", "A answered", "B answered", "Right"] : ["", "Sample", "Answer", "Right", "Time"];
  if (PAIRS) $("headrow").classList.add("pairs");
  heads.forEach((word, at) => $("headrow").append(el("span", at === 4 ? (PAIRS ? "right" : "ms") : "", word)));

  const apply = () => {
    const [, , test] = filter;
    shown = [];
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index];
      if ((unit < 0 || row[1] === unit) && (!hits || hits[index]) && test(row)) shown.push(index);
    }
    if ($("order").value === "slow") {
      const slowest = (index) => Math.max(...rows[index][4].map((side) => side ? side[1] : 0));
      shown.sort((a, b) => slowest(b) - slowest(a) || a - b);
    }
    space.style.height = `${height()}px`;
    draw();
  };
  const tell = (more = "") => {
    status.textContent = `${number(shown.length)} of ${number(rows.length)} samples${more}`;
  };
  const update = () => { list.scrollTop = 0; apply(); tell(); };

  const countFilters = () => {
    const counts = FILTERS.map(() => 0);
    for (const row of rows) {
      if (unit >= 0 && row[1] !== unit) continue;
      FILTERS.forEach(([, , test], at) => { if (test(row)) counts[at]++; });
    }
    $("filters").replaceChildren(...FILTERS.map((one, at) => {
      const button = el("button", "", one[1], el("small", "", number(counts[at])));
      button.type = "button";
      button.dataset.filter = one[0];
      button.dataset.count = counts[at];
      button.setAttribute("aria-pressed", String(one === filter));
      button.onclick = () => { filter = one; countFilters(); update(); };
      return button;
    }));
  };

  // Details: pieces of many samples, unpacked when one of them is wanted.
  const pieces = [...document.querySelectorAll("script[data-details]")];
  const begins = pieces.map((piece) => Number(piece.dataset.details));
  const unpacked = new Map();
  const piece = async (at) => {
    if (!unpacked.has(at)) {
      unpacked.set(at, unpack(pieces[at]).then((lines) => new Map(lines)));
      if (unpacked.size > 6) unpacked.delete(unpacked.keys().next().value);
    }
    return unpacked.get(at);
  };
  const detailsOf = async (index) => {
    let low = 0, high = begins.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (begins[middle] <= index) low = middle + 1; else high = middle;
    }
    return low === 0 ? undefined : (await piece(low - 1)).get(index);
  };

  // Searching: ids, answers and targets at once, then the full texts piece by piece.
  let scan = 0;
  const search = async () => {
    const mine = ++scan, wanted = $("search").value.trim().toLowerCase();
    $("stop").hidden = true;
    if (!wanted) { hits = null; update(); return; }
    hits = new Uint8Array(rows.length);
    rows.forEach((row, index) => {
      const texts = [row[0], row[3] ?? "", ...row[4].map((side) => side ? side[2] : "")];
      if (texts.some((text) => text.toLowerCase().includes(wanted))) hits[index] = 1;
    });
    update();
    if (wanted.length < 2 || pieces.length === 0) return;
    $("stop").hidden = false;
    let drawn = performance.now();
    for (let at = 0; at < pieces.length; at++) {
      const lines = await unpack(pieces[at]);
      if (mine !== scan) return;
      for (const [index, sides] of lines) {
        if (!hits[index] && sides.some((side) => side && holds(side, wanted))) hits[index] = 1;
      }
      if (performance.now() - drawn > 150) {
        apply();
        tell(`; searching prompts and full answers, ${Math.round(100 * (at + 1) / pieces.length)} %`);
        drawn = performance.now();
        await pause();
        if (mine !== scan) return;
      }
    }
    $("stop").hidden = true;
    apply();
    tell();
  };
  const holds = (side, wanted) => {
    const texts = [];
    for (const one of side.prompt ?? []) texts.push(one.text);
    for (const one of side.target ?? []) texts.push(one.text);
    for (const one of side.options ?? []) texts.push(one.text.text);
    for (const one of side.choices ?? []) texts.push(one.text.text, one.reasoning?.text ?? "", one.answer?.text ?? "");
    if (side.unscored) texts.push(side.unscored);
    if (side.error) texts.push(side.error.message, side.error.kind);
    return texts.some((text) => text.toLowerCase().includes(wanted));
  };
  $("stop").onclick = () => {
    scan++;
    $("stop").hidden = true;
    apply();
    tell("; the search was stopped before it had seen every prompt");
  };

  // One sample.
  const marked = (text) => {
    const wanted = $("search").value.trim().toLowerCase(), parts = document.createDocumentFragment();
    const lower = text.toLowerCase();
    if (!wanted || lower.length !== text.length) { parts.append(text); return parts; }
    let from = 0;
    for (let at = lower.indexOf(wanted), found = 0; at >= 0 && found < 500; at = lower.indexOf(wanted, from), found++) {
      parts.append(text.slice(from, at), el("mark", "", text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    parts.append(text.slice(from));
    return parts;
  };
  const block = (text, name = "") => {
    const pre = el("pre", name, marked(text.text));
    if (!text.cut) return pre;
    return el("div", "", pre, el("p", "note", `${number(text.cut)} more bytes are left out here; the whole text is in journal.jsonl.`));
  };
  const facts = (pairs) => {
    const dl = el("dl", "meta");
    for (const [name, value] of pairs) {
      if (value !== undefined && value !== null && value !== "") dl.append(el("div", "", el("dt", "", name), el("dd", "", String(value))));
    }
    return dl;
  };
  const nats = (likelihood) => likelihood ? likelihood.logprob === null || likelihood.logprob === undefined ? "none" : likelihood.logprob.toFixed(4) : "";
  const optionsTable = (options) => {
    let best = -1;
    options.forEach((one, at) => {
      const of = (at) => options[at]?.given?.logprob ?? -Infinity;
      if (one.given && of(at) > of(best)) best = at;
    });
    const alone = options.some((one) => one.alone), greedy = options.some((one) => one.given?.greedy !== undefined);
    const head = el("tr", "", el("th"), el("th", "", "Continuation"), el("th", "n", "Log-probability"), el("th", "n", "Tokens"));
    if (greedy) head.append(el("th", "n", "Greedy"));
    if (alone) head.append(el("th", "n", "Without context"));
    const body = options.map((one, at) => {
      const row = el("tr", at === best ? "pick" : "", el("td", one.right ? "v1" : "dim", `${one.label}${one.right ? " ✓" : ""}`));
      row.append(el("td", "", marked(one.text.text.trim() ? JSON.stringify(one.text.text).slice(1, -1) : one.text.text)));
      row.append(el("td", "n", nats(one.given)), el("td", "n", one.given ? String(one.given.tokens) : ""));
      if (greedy) row.append(el("td", "n", one.given?.greedy === undefined ? "" : one.given.greedy ? "yes" : "no"));
      if (alone) row.append(el("td", "n", nats(one.alone)));
      if (one.given?.boundary_merged) row.title = "context and continuation share a token";
      return row;
    });
    return el("div", "scroll", el("table", "options", el("thead", "", head), el("tbody", "", ...body)));
  };
  const tokensBlock = (choice) => {
    const line = el("div", "tokens mono");
    for (const token of choice.tokens) {
      const chance = token.logprob === null || token.logprob === undefined ? 0 : Math.exp(token.logprob);
      const span = el("span", "", token.token);
      span.style.setProperty("--doubt", String(1 - chance));
      const percent = (logprob) => logprob === null || logprob === undefined ? "?" : `${(100 * Math.exp(logprob)).toFixed(1)} %`;
      span.title = [`${JSON.stringify(token.token)} ${percent(token.logprob)}`, ...(token.top ?? []).map(([text, logprob]) => `  ${JSON.stringify(text)} ${percent(logprob)}`)].join("\n");
      line.append(span);
    }
    const more = choice.tokens_cut ? ` (${number(choice.tokens_cut)} more are in journal.jsonl)` : "";
    const box = el("details", "", el("summary", "", `Log-probabilities of ${number(choice.tokens.length)} tokens${more}; the darker, the less likely`), line);
    box.open = true;
    return box;
  };
  const sideElement = (detail, row, at) => {
    const side = el("div");
    const verdict = row[4][at];
    if (PAIRS) side.append(el("h4", "", el("b", "letter", meta.runs[at]), verdict ? ` ${WORDS[verdict[0]]}` : " not in this run"));
    if (!detail) return side;
    const timing = detail.timing_ms, scores = Object.entries(detail.scores ?? {});
    side.append(facts([
      ["unscored:", detail.unscored],
      ...scores.map(([name, value]) => [name, Number.isInteger(value) ? value : value.toPrecision(6)]),
      ["took", time(timing.total)],
      ["its attempt", time(timing.attempt) === time(timing.total) ? undefined : time(timing.attempt)],
      ["first text after", timing.first_text === undefined ? undefined : time(timing.first_text)],
      ["attempts", detail.attempts === 1 ? undefined : detail.attempts],
      ["tokens", `${number(detail.usage.prompt)} + ${number(detail.usage.completion)}`],
      ["reasoning tokens", detail.usage.reasoning],
      ["from the response cache", detail.cached ? "yes" : undefined],
      ["answered by", detail.answered_by],
      ["model", detail.model],
      ["server", detail.replica],
      ["ended", timing.ended_unix === undefined ? undefined : new Date(timing.ended_unix).toISOString().replace("T", " ").slice(0, 19) + " UTC"],
    ]));
    if (detail.error) {
      const { kind, message, http_status: code, excerpt } = detail.error;
      side.append(el("h4", "", "Error"), block({ text: `${kind}${code ? ` (HTTP ${code})` : ""}: ${message}` }));
      if (excerpt) side.append(el("h4", "", "What the server said"), block({ text: excerpt }));
    }
    detail.choices?.forEach((choice, number) => {
      const which = detail.choices.length > 1 ? ` ${number + 1}` : "";
      if (choice.reasoning) side.append(el("h4", "", `Reasoning${which}`), block(choice.reasoning));
      side.append(el("h4", "", `Reply${which}`), block(choice.text, "answer"));
      side.append(facts([["ended by", choice.finish], ["counted apart as", choice.incident]]));
      side.append(el("h4", "", `Read out of it${which}`), choice.answer ? block(choice.answer) : el("p", "note", "nothing"));
      if (choice.tokens?.length) side.append(tokensBlock(choice));
    });
    if (detail.options?.length) side.append(el("h4", "", "Options"), optionsTable(detail.options));
    for (const one of detail.changed ?? []) side.append(el("p", "note", `${one.parameter}: ${one.detail}`));
    return side;
  };
  const open = async (index) => {
    chosen = index;
    draw();
    const row = rows[index], pane = $("detail");
    try { history.replaceState(null, "", `#sample-${index}`); } catch { /* an address is a comfort */ }
    const details = await detailsOf(index);
    if (chosen !== index) return;
    const [id, which, repeat, target, sides] = row;
    const words = PAIRS ? "" : ` ${WORDS[sides[0][0]]}`;
    const title = el("h3", "", `${id}${repeat ? `, repeat ${repeat}` : ""}`, el("span", PAIRS ? "" : `v${sides[0][0]}`, words));
    const parts = [title, el("p", "note", meta.units[which])];
    if (!details) {
      parts.push(el("p", "note", "The page does not hold the prompt and the answer of this sample; they are in journal.jsonl, under this id."));
      sides.forEach((side, at) => side && parts.push(facts([[`${meta.runs[at]} answer`.trim(), side[2]], ["right", target], ["took", time(side[1])]])));
    } else {
      const known = details.find((side) => side);
      const two = details.filter((side) => side);
      if (two.length > 1 && two[0].digest !== two[1].digest) parts.push(el("p", "bad", "The two runs have other records of the data set under this id."));
      const prompts = two.map((side) => JSON.stringify(side.prompt ?? []));
      if (known.prompt) {
        const same = new Set(prompts).size === 1;
        (same ? [known] : two).forEach((side, at) => {
          parts.push(el("h4", "", same ? "Prompt" : `Prompt of ${meta.runs[at]}`));
          for (const said of side.prompt ?? []) {
            if (said.role) parts.push(el("div", "role", said.role));
            parts.push(block(said));
          }
        });
      }
      if (known.target?.length) parts.push(el("h4", "", "Right"), ...known.target.map((text) => block(text)));
      const both = details.map((side, at) => sideElement(side, row, at));
      parts.push(PAIRS ? el("div", "both", ...both) : both[0]);
      if (known.document) {
        const box = el("details", "", el("summary", "", "The data set's record"), block(known.document));
        parts.push(box);
      }
    }
    pane.replaceChildren(...parts);
    pane.scrollTop = 0;
  };
  const step = (by) => {
    if (shown.length === 0) return;
    const at = shown.indexOf(chosen);
    const next = at < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, at + by));
    const top = next * ROW, all = shown.length * ROW;
    if (all > HIGHEST) list.scrollTop = next / shown.length * (height() - list.clientHeight);
    else if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    open(shown[next]);
  };

  list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  addEventListener("resize", draw);
  let typing = 0;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 180); });
  $("order").onchange = update;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest?.("input, select, textarea, button");
    if (event.key === "Escape" && event.target === $("search")) {
      $("search").value = "";
      search();
      list.focus();
    } else if (event.key === "/" && event.target !== $("search")) {
      event.preventDefault();
      $("search").focus();
    } else if (!field && (event.key === "j" || event.key === "k")) {
      step(event.key === "j" ? 1 : -1);
    } else if (event.target === list && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1);
    }
  });

  const load = async () => {
    $("browser").hidden = false;
    for (const element of document.querySelectorAll("script[data-index]")) {
      for (const row of await unpack(element)) rows.push(row);
      element.remove();
      tell("; loading…");
      if (shown.length < 100) apply();
      await pause();
    }
    if (meta.units.length > 1) {
      $("unit").append(new Option("all tasks and backends", "-1"), ...meta.units.map((name, at) => new Option(name, String(at))));
      $("unit").hidden = false;
      $("unit").onchange = () => { unit = Number($("unit").value); countFilters(); update(); };
    }
    countFilters();
    update();
    const wanted = /^#sample-(\d+)$/.exec(location.hash);
    if (wanted && Number(wanted[1]) < rows.length) open(Number(wanted[1]));
    document.body.dataset.loaded = "true";
  };
  load();
})();
