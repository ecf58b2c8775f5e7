// The pages' only script: hears of changes, swaps the changing part, counts down, and lets a person
// vote. It builds no HTML from data: what it shows was rendered by the server, or is set as text.
"use strict";

const TOKEN = "remediator.token";
const byId = (id) => document.getElementById(id);

document.documentElement.classList.add("scripted");

// ── Time ────────────────────────────────────────────────────────────────────────────────────────

// The server's clock is the one that counts: how far is this machine's from it?
let skew = 0;
const now = () => Date.now() + skew;

function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [day, hour] = [Math.floor(whole / 86400), Math.floor((whole % 86400) / 3600)];
  const [minute, second] = [Math.floor((whole % 3600) / 60), whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  if (day) return hour ? `${day} d ${hour} h` : `${day} d`;
  if (hour) return minute ? `${hour} h ${two(minute)} min` : `${hour} h`;
  if (minute) return `${minute} min ${two(second)} s`;
  return `${second} s`;
}

function ago(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return "just now";
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  for (const one of document.querySelectorAll("time.until")) {
    const left = (Date.parse(one.dateTime) - now()) / 1000;
    write(one, left > 0 ? span(left) : "any moment");
  }
  for (const one of document.querySelectorAll("time.since")) {
    write(one, ago((now() - Date.parse(one.dateTime)) / 1000));
  }
  for (const one of document.querySelectorAll("progress[data-until]")) {
    const [from, until] = [Date.parse(one.dataset.from), Date.parse(one.dataset.until)];
    one.value = Math.max(0, Math.min(1000, (1000 * (until - now())) / Math.max(1, until - from)));
  }
}

// ── The changing part ───────────────────────────────────────────────────────────────────────────

let fetching = false;
let again = false;

async function refresh() {
  timer = 0;
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  last = Date.now();
  try {
    const answer = await fetch(`${location.pathname}?fragment=1`, {
      headers: { Accept: "text/html" },
      cache: "no-store",
    });
    alive(swap(await answer.text()));
  } catch {
    alive(false);
  } finally {
    fetching = false;
    if (again) {
      again = false;
      soon();
    }
  }
}

function swap(text) {
  const next = new DOMParser().parseFromString(text, "text/html").getElementById("fragment");
  const main = byId("main");
  if (!next || !main) return false;
  const open = [...main.querySelectorAll("details[open][id]")].map((one) => one.id);
  const focused = describe(document.activeElement);
  main.replaceChildren(document.adoptNode(next));
  for (const id of open) byId(id)?.setAttribute("open", "");
  if (focused) main.querySelector(focused)?.focus({ preventScroll: true });
  settle();
  return true;
}

// How to find an element of the changing part again, after it was swapped.
function describe(element) {
  if (!element || !byId("main").contains(element) || !element.dataset.do) return "";
  const parts = ["do", "vote", "gate", "page", "halt", "run", "verdict"].filter((key) => element.dataset[key]);
  return parts.map((key) => `[data-${key}="${CSS.escape(element.dataset[key])}"]`).join("");
}

function settle() {
  const part = byId("fragment");
  if (part) document.title = part.dataset.title;
  const stamp = document.querySelector("time.clocked");
  if (stamp) skew = Date.parse(stamp.dateTime) - Date.now();
  tick();
}

// At most once a second, however stormy the night.
let timer = 0;
let last = 0;
function soon() {
  if (timer) return;
  timer = setTimeout(refresh, Math.max(150, last + 1000 - Date.now()));
}

function alive(yes) {
  const live = byId("live");
  live.hidden = false;
  live.classList.toggle("lost", !yes);
  write(live, yes ? "live" : "no answer from the daemon; what you see may be old");
}

function listen() {
  const source = new EventSource("/api/v1/events");
  const run = byId("fragment")?.dataset.run;
  source.addEventListener("hello", soon);
  source.addEventListener("many", soon);
  source.addEventListener("run", (event) => {
    if (!run || JSON.parse(event.data).run === run) soon();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.OPEN) alive(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  });
}

// ── What a person may do ────────────────────────────────────────────────────────────────────────

const path = (...parts) => `/api/v1/${parts.map(encodeURIComponent).join("/")}`;

const DEEDS = {
  vote: (data) => ({
    title: data.vote === "approve" ? "Approve exactly this?" : "Deny this?",
    yes: data.vote === "approve" ? "Approve" : "Deny",
    tone: data.vote === "approve" ? "good" : "bad",
    what: data.vote === "approve" ? `what-${data.gate}` : "",
    reason: "optional",
    call: (reason) => ["POST", path("gates", data.gate, "votes"), { vote: data.vote, reason, hash: data.hash, via: "page" }],
  }),
  ask: (data) => ({
    title: "Ask people again?",
    yes: "Ask again",
    tone: "good",
    call: () => ["POST", path("gates", data.gate, "ask"), { via: "page" }],
  }),
  settle: (data) => ({
    title: `${data.label}?`,
    yes: data.label,
    tone: "good",
    what: `what-${data.run}`,
    reason: "optional",
    call: (reason) => ["POST", path("runs", data.run, "settle"), { verdict: data.verdict, reason, question: data.question, via: "page" }],
  }),
  ack: (data) => ({
    title: "Acknowledge this page?",
    yes: "Acknowledge",
    tone: "good",
    call: () => ["POST", path("pages", data.page, "ack"), {}],
  }),
  halt: () => ({
    title: "Halt everything?",
    about: "No step starts anywhere until the halt is lifted. Steps that have started are finished.",
    yes: "Halt everything",
    tone: "bad",
    reason: "required",
    undos: true,
    call: (reason, undos) => ["POST", path("halts"), { reason, undos }],
  }),
  resume: (data) => ({
    title: "Lift this halt?",
    yes: "Resume",
    tone: "good",
    call: () => ["DELETE", path("halts", data.halt), {}],
  }),
  who: () => ({
    title: "Who are you?",
    about: "Votes count for the person whose token this is.",
    yes: "Use this token",
    tone: "good",
    token: true,
  }),
};

let deed = null;

function ask(data) {
  deed = DEEDS[data.do](data);
  byId("ask-title").textContent = deed.title;
  byId("ask-about").textContent = data.about || deed.about || "";
  byId("ask-what").replaceChildren();
  const what = deed.what && byId(deed.what);
  if (what) byId("ask-what").append(...[...what.cloneNode(true).children]);
  byId("ask-reason-field").hidden = !deed.reason;
  byId("ask-reason").required = deed.reason === "required";
  byId("ask-reason-name").textContent = deed.reason === "required" ? "Reason" : "Reason (may be left out)";
  byId("ask-reason").value = "";
  byId("ask-undos-field").hidden = !deed.undos;
  byId("ask-undos").checked = false;
  byId("ask-token").value = "";
  byId("ask-yes").textContent = deed.yes;
  byId("ask-yes").className = deed.tone === "bad" ? "bad sure" : deed.tone;
  problem("");
  tokenWanted(deed.token || !sessionStorage.getItem(TOKEN));
  byId("ask").showModal();
}

function tokenWanted(yes) {
  byId("ask-token-field").hidden = !yes;
  byId("ask-token").required = yes;
}

function problem(text) {
  byId("ask-problem").hidden = !text;
  byId("ask-problem").textContent = text;
}

function close() {
  deed = null;
  byId("ask-token").value = "";
  byId("ask").close();
}

async function send(event) {
  event.preventDefault();
  if (!deed) return;
  const typed = byId("ask-token").value.trim();
  const token = typed || sessionStorage.getItem(TOKEN) || "";
  byId("ask-yes").disabled = true;
  try {
    if (typed && !(await known(token))) return;
    if (deed.call) await perform(token);
    else close();
  } catch {
    problem("No answer from the daemon. It may or may not have heard you: look before you try again.");
  } finally {
    byId("ask-yes").disabled = false;
  }
}

// A token is kept only once the daemon has said whose it is.
async function known(token) {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    problem("A token has no spaces and only plain letters.");
    return false;
  }
  const answer = await fetch("/status", {
    headers: { Accept: "application/json", Authorization: `Bearer ${token}` },
    cache: "no-store",
    credentials: "omit",
  });
  if (!answer.ok) {
    problem(answer.status === 401 ? "This token is nobody's." : `The daemon answered ${answer.status}.`);
    return false;
  }
  sessionStorage.setItem(TOKEN, token);
  person((await answer.json()).you);
  return true;
}

async function perform(token) {
  const [method, address, body] = deed.call(byId("ask-reason").value.trim(), byId("ask-undos").checked);
  const answer = await fetch(address, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
    credentials: "omit",
  });
  const told = await answer.json();
  if (answer.status === 401) {
    forget();
    tokenWanted(true);
    problem("This token is nobody's any more. Enter another one.");
    return;
  }
  if (answer.ok) {
    close();
    say(told.text);
  } else {
    problem(told.text || told.error || `The daemon answered ${answer.status}.`);
  }
  soon();
}

function person(name) {
  byId("who").textContent = name ? `${name} · forget token` : "Enter token";
  byId("who").dataset.known = name || "";
}

function forget() {
  sessionStorage.removeItem(TOKEN);
  person("");
}

function say(text) {
  const said = byId("said");
  said.textContent = text;
  said.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.hidden = true; }, 6000);
}

// ── Begin ───────────────────────────────────────────────────────────────────────────────────────

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (!button) return;
  if (button.dataset.do === "who" && sessionStorage.getItem(TOKEN)) forget();
  else ask(button.dataset);
});
byId("ask-form").addEventListener("submit", send);
byId("ask-no").addEventListener("click", close);
byId("ask").addEventListener("close", () => { deed = null; });

if (sessionStorage.getItem(TOKEN)) {
  known(sessionStorage.getItem(TOKEN)).then((yes) => yes || forget(), () => {});
}
if (byId("fragment")) {
  settle();
  setInterval(tick, 1000);
  setInterval(soon, 30000);
  document.addEventListener("visibilitychange", () => document.hidden || soon());
  listen();
}
