"use strict";

const REFRESH_MS = 2000;
const byId = (id) => document.getElementById(id);

// Text only ever enters the page as text nodes, so no name can become markup.
function element(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== null && text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

const NONE = "\u2013";
const missing = (value) => value === null || value === undefined;
const number = (value, digits = 3) => missing(value) ? NONE : Number(value.toPrecision(digits)).toLocaleString("en", {maximumSignificantDigits: digits});
const whole = (value) => missing(value) ? NONE : Math.round(value).toLocaleString("en");
const percent = (value) => missing(value) ? NONE : (100 * value).toFixed(value > 0 && value < 0.01 ? 2 : 1) + " %";
const rate = (value) => missing(value) ? NONE : value.toFixed(value < 10 ? 1 : 0);

function duration(seconds) {
  if (missing(seconds)) return NONE;
  if (seconds >= 10) return "\u2265 10 s";
  if (seconds >= 1) return seconds.toFixed(1) + " s";
  return seconds >= 0.001 ? number(seconds * 1e3) + " ms" : whole(seconds * 1e6) + " \u00b5s";
}

function age(seconds) {
  if (missing(seconds)) return NONE;
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return Math.round(seconds / size) + " " + unit + " ago";
  }
  return Math.round(seconds) + " s ago";
}

function clock(seconds) {
  return missing(seconds) ? NONE : new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

function pill(text, level) {
  return element("span", text, {class: "pill " + level});
}

// A column is [heading, row -> text or node, is it a number].
function table(id, caption, columns, rows, level, empty) {
  const place = byId(id);
  if (!rows.length) {
    place.replaceChildren(element("p", empty, {class: "note"}));
    return;
  }
  const made = element("table", null, {role: "table", "aria-label": caption});
  const head = made.appendChild(element("thead", null, {role: "rowgroup"}));
  const heading = head.appendChild(element("tr", null, {role: "row"}));
  for (const [label, , numeric] of columns) {
    const attributes = {scope: "col", role: "columnheader"};
    if (numeric) attributes.class = "number";
    heading.append(element("th", label, attributes));
  }
  const body = made.appendChild(element("tbody", null, {role: "rowgroup"}));
  for (const row of rows) {
    const line = body.appendChild(element("tr", null, {role: "row", class: level(row)}));
    for (const [label, show, numeric] of columns) {
      const cell = line.appendChild(element("td", null, {role: "cell", "data-label": label}));
      if (numeric) cell.className = "number";
      const inner = cell.appendChild(element("span"));
      inner.append(show(row));
    }
  }
  place.replaceChildren(made);
}

const STATE = {ready: ["Ready", "good"], degraded: ["Degraded", "warning"], down: ["Down", "critical"]};
// Other servers have versions that are no numbers.
const versioned = (row) => row.model + (/^\d/.test(row.version) ? " v" : " ") + row.version;
const modelName = (row) => missing(row.model) || row.model === "" ? NONE : versioned(row);
const plain = () => "";

// What nobody judges is not wrong, and not fine either.
function showProblems({problems, ready, findings, not_judged}) {
  const unknown = findings.filter((row) => missing(row.breached)).length;
  const items = problems.map(({level, text}) => {
    const item = element("li", null, {class: level});
    item.append(element("strong", level === "critical" ? "\u2716 Critical" : "\u25b2 Warning"), element("span", text));
    return item;
  });
  if (!items.length) {
    const watched = !unknown && !not_judged.length;
    const item = element("li", null, {class: !ready ? "warning" : watched ? "good" : ""});
    item.append(element("span", watched ? "\u2714 Nothing that the server knows of." : "No problem is known, but not everything is judged: " + unknown + " unknown verdicts, " + not_judged.length + " monitors without one. See Findings."));
    items.push(item);
  }
  const list = byId("problems");
  const text = items.map((item) => item.textContent).join("\n");
  // Replaced only when it differs: screen readers announce every replacement.
  if (list.dataset.text !== text) {
    list.dataset.text = text;
    list.replaceChildren(...items);
  }
}

function showModels(models) {
  table("models", "Models", [
    ["Model", (row) => row.name + " v" + row.version],
    ["State", (row) => pill(...STATE[row.state])],
    ["Replicas", (row) => row.replicas_ready + " / " + row.replicas_wanted, true],
    ["Slots in use", (row) => whole(row.slots_used) + " / " + whole(row.slots_total), true],
    ["Rows waiting", (row) => whole(row.queue_rows), true],
    ["Requests/s", (row) => rate(row.requests_per_s), true],
    ["Errors", (row) => percent(row.error_rate), true],
    ["p50", (row) => duration(row.p50_s), true],
    ["p99", (row) => duration(row.p99_s), true],
    ["Explainer", (row) => row.explainer || "none"],
  ], models, (row) => row.state === "down" ? "critical" : row.state === "degraded" ? "warning" : "", "No model is served.");
}

function verdict(row) {
  if (row.breached === true) return pill("\u25b2 Breached", "warning");
  if (row.breached === false) return pill("\u2714 Fine", "good");
  const shown = element("span");
  shown.append(pill("Unknown", ""), element("span", " " + (row.reason || ""), {class: "quiet"}));
  return shown;
}

const FINDING_COLUMNS = [
  ["Verdict", verdict],
  ["Model", modelName],
  ["Monitor", (row) => row.monitor],
  ["Metric", (row) => row.subject ? row.metric + " \u00b7 " + row.subject : row.metric],
  ["Value", (row) => number(row.value) + (row.ci ? " [" + number(row.ci[0]) + ", " + number(row.ci[1]) + "]" : ""), true],
  ["Bad when", (row) => missing(row.threshold) ? NONE : row.direction + " " + number(row.threshold), true],
  ["p-value", (row) => row.p_value < 0.0001 && !missing(row.p_value) ? "< 0.0001" : number(row.p_value, 2), true],
  ["Rows", (row) => whole(row.n_current), true],
  ["Window ended", (row) => age(row.age_s), true],
];

function showFindings(findings) {
  const level = (row) => row.breached === true ? "warning" : "";
  const breached = findings.filter((row) => row.breached === true);
  const unknown = findings.filter((row) => missing(row.breached)).length;
  const fine = findings.length - breached.length - unknown;
  const rest = fine + " fine, " + unknown + " unknown";
  const none = findings.length ? "Nothing is breached: " + rest + "." : "No window has closed yet.";
  table("findings", "Breached findings", FINDING_COLUMNS, breached, level, none);
  byId("all-findings-count").textContent = "All findings (" + breached.length + " breached, " + rest + ")";
  table("all-findings", "All findings", FINDING_COLUMNS, findings, level, "None yet.");
}

function showNotes(notes) {
  byId("notes").replaceChildren(...notes.map((note) => element("p", note, {class: "note"})));
}

function showGuards(guards) {
  table("guards", "Guard decisions", [
    ["Model", modelName],
    ["Guard", (row) => row.guard],
    ["Action", (row) => row.action],
    ["Rows, last minute", (row) => whole(row.recent), true],
    ["Rows since start", (row) => whole(row.rows), true],
  ], guards, plain, "No guard has stopped or flagged a row.");
}

function showMembers(members) {
  table("members", "Processes", [
    ["Process", (row) => row.id],
    ["Role", (row) => row.role],
    ["State", (row) => row.ready ? pill("Ready", "good") : pill("Not ready", "warning")],
    ["Model", modelName],
    ["Slots", (row) => row.slots ? whole(row.slots) : NONE, true],
    ["Restarts", (row) => whole(row.restarts), true],
    ["Last report", (row) => missing(row.age_s) ? "never" : row.age_s.toFixed(1) + " s ago", true],
    ["PID", (row) => String(row.pid), true],
  ], members, (row) => row.ready ? "" : "warning", "No process has registered.");
}

function show(data) {
  document.body.classList.remove("stale");
  const state = byId("state");
  state.className = "pill " + (data.ready ? "good" : "critical");
  state.textContent = data.ready ? "\u2714 Serving" : "\u2716 Not ready";
  document.title = (data.ready ? "" : "\u2716 ") + (data.problems.length ? "(" + data.problems.length + ") " : "") + "Vigil console";
  byId("updated").textContent = "Updated " + clock(data.now_s) + ", counting since " + new Date(data.started_s * 1000).toLocaleString("en-GB");
  byId("window").textContent = data.window_s > 0 ? "rates and latency over the last " + Math.round(data.window_s) + " s" : "";
  showProblems(data);
  showModels(data.models);
  showFindings(data.findings);
  showNotes(data.notes);
  showGuards(data.guards);
  showMembers(data.members);
}

function lost() {
  document.body.classList.add("stale");
  const state = byId("state");
  state.className = "pill critical";
  state.textContent = "\u2716 The admin listener does not answer; shown is the last it said";
}

async function refresh() {
  try {
    const answer = await fetch("console/data", {cache: "no-store", signal: AbortSignal.timeout(5000)});
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.json());
  } catch (error) {
    console.error(error);
    lost();
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();
