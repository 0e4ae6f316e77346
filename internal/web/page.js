// The live page: follows the event stream, and patches what the server drew.
// Words come from words.js. Nothing here is a string of HTML: names of
// processes are text, whatever they hold.

import {limitOf, occupied, services, silentAfter, span, viewOf} from "./words.js";

/** @typedef {import("./words.js").Picture} Picture */
/** @typedef {import("./words.js").View} View */
/** @typedef {{t: number, v: number|null}[]} History of one service's busy workers; t in ms, null is unknown */

const paintEvery = 1000; // ms: numbers that change faster cannot be read
const historyFor = 5 * 60e3; // ms
const gapAfter = 5e3; // ms without a picture: the line breaks
const sayEvery = 60e3; // ms between two announcements
const retries = [1, 2, 5, 10]; // s

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const live = /** @type {HTMLElement} */ (document.getElementById("live"));
const say = /** @type {HTMLElement} */ (document.getElementById("say"));
const holdButton = /** @type {HTMLButtonElement} */ (document.getElementById("hold"));

/** @type {Picture|null} */
let picture = null;
/** @type {Map<string, History>} */
const histories = new Map();
/** @type {Set<number>|null} */
let said = null;
/** @type {string[]} */
let toSay = [];
let saidAt = -Infinity;
let lastAt = ""; // the agent's time of the newest word from it
let aliveAt = performance.now(); // when that word came
let paintedAt = -Infinity;
let retryAt = 0; // performance.now() of the next attempt; 0: connected or trying
let attempts = 0;
let heldAt = 0; // performance.now() of the hold; 0: not held
let paintTimer = 0;

// Stream

function connect() {
  retryAt = 0;
  const events = new EventSource("/api/v1/events");
  /** @param {string} at */
  const alive = (at) => {
    attempts = 0;
    if (at === lastAt) return; // the server answers, and its agent has made nothing new
    lastAt = at;
    aliveAt = performance.now();
  };
  events.addEventListener("snapshot", (e) => {
    picture = /** @type {Picture} */ (JSON.parse(e.data));
    alive(picture.status.at);
    remember(picture);
    announce(picture);
    schedule();
  });
  events.addEventListener("incident", (e) => {
    const inc = JSON.parse(e.data);
    if (!picture) return;
    picture.incidents = [inc, ...picture.incidents.filter((i) => i.id !== inc.id)];
    announce(picture);
    schedule();
  });
  events.addEventListener("heartbeat", (e) => alive(JSON.parse(e.data).at));
  events.addEventListener("error", () => {
    events.close();
    const wait = retries[Math.min(attempts++, retries.length - 1)];
    retryAt = performance.now() + wait * 1e3;
    setTimeout(connect, wait * 1e3);
    showLive();
  });
}

/**
 * Adds the picture to the sparklines' histories.
 * @param {Picture} p
 */
function remember(p) {
  const t = Date.parse(p.status.at), seen = new Set();
  for (const s of services(p)) {
    seen.add(s.id);
    const points = histories.get(s.id) ?? [];
    const v = occupied(s).value;
    if (points.at(-1)?.t === t) points[points.length - 1].v = v;
    else points.push({t, v});
    histories.set(s.id, points.filter((x) => x.t >= t - historyFor && x.t <= t));
  }
  for (const id of histories.keys()) if (!seen.has(id)) histories.delete(id);
}

/**
 * Queues new critical findings for the live region. Those of the first picture
 * are on the page already.
 * @param {Picture} p
 */
function announce(p) {
  const critical = p.incidents.filter((i) => i.state === "open" && i.severity === "critical");
  if (said) for (const i of critical) if (!said.has(i.id)) toSay.push(i.sentence);
  said = new Set(critical.map((i) => i.id));
}

// Painting

function schedule() {
  if (paintTimer) return;
  paintTimer = setTimeout(() => { paintTimer = 0; paint(); }, Math.max(0, paintedAt + paintEvery - performance.now()));
}

const age = () => (performance.now() - aliveAt) / 1e3;

/** Whether someone is marking text of the page: it must stay under the mark. */
function selecting() {
  const s = getSelection();
  return !!s && !s.isCollapsed && main.contains(s.anchorNode);
}

function paint() {
  showLive();
  if (!picture || heldAt || selecting()) return;
  paintedAt = performance.now();
  const v = viewOf(picture, age());
  document.title = `${v.title} · Foreshock`;
  const drawn = h("main", {}, ...drawMain(v, picture));
  patchChildren(main, drawn);
  main.dataset.painted = picture.status.at;
}

function showLive() {
  const now = performance.now();
  document.body.toggleAttribute("data-lost", age() > silentAfter);
  let words = picture ? "live" : "connecting";
  if (age() > silentAfter) words = `no word for ${span(age())}`;
  if (retryAt) words = `${age() > silentAfter ? words : "not connected"}, trying again in ${span(Math.max(0, retryAt - now) / 1e3)}`;
  if (heldAt) words = `held, ${span((now - heldAt) / 1e3)} behind`;
  if (live.textContent !== words) live.textContent = words;
  if (toSay.length && now - saidAt >= sayEvery) {
    say.textContent = toSay.join(" ");
    toSay = [];
    saidAt = now;
  }
}

/**
 * @param {View} v
 * @param {Picture} p
 */
function drawMain(v, p) {
  return [
    h("h1", {}, v.title),
    h("p", {class: "sub"}, v.sub),
    h("section", {id: "needs", "aria-label": "What needs someone", "data-steady": ""}, ...v.needs.map(drawNeed),
      v.more && h("p", {class: "note", "data-key": "more"}, `${v.more}: `, h("a", {href: "/api/v1/incidents"}, "all incidents"))),
    h("section", {id: "services"}, h("h2", {}, "Services"), v.services.length ? drawServices(v, p) :
      h("p", {}, "Nothing listens in this network namespace; a service appears here two seconds after it starts to.")),
    h("section", {id: "backends"}, h("h2", {}, "Backends"), v.groups.length ? drawBackends(v) :
      h("p", {}, "Nobody is seen to talk to a backend. Traefik, HAProxy, nginx, Apache, Envoy and Caddy are known by themselves; " +
        "the pools of other programs are named under backends: in the configuration."),
      v.rest && h("p", {class: "note"}, `${v.rest}: `, h("a", {href: "/api/v1/backends"}, "all backends"))),
    v.regions.length > 0 && h("section", {id: "regions"}, h("h2", {}, "Regions"), drawRegions(v),
      v.regionsRest && h("p", {class: "note"}, `${v.regionsRest}: `, h("a", {href: "/api/v1/regions"}, "all regions")),
      v.unclassified && h("p", {class: "note"}, v.unclassified)),
    h("section", {id: "looks"}, h("h2", {}, "How we look"),
      h("div", {class: "wide", role: "region", "aria-label": "How we look", tabindex: "0"}, h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "Tier"), ...["Age", "Every", "Costs", "Sockets"].map((x) => h("th", {class: "n"}, x)), h("th", {}, "State"))),
        h("tbody", {}, ...v.looks.map((l) => h("tr", {"data-key": l.tier}, h("th", {scope: "row"}, l.tier),
          ...[l.age, l.every, l.cost, l.sockets].map((x) => h("td", {class: "n"}, x)), h("td", {}, l.state))))))),
    h("section", {id: "limits"}, h("h2", {}, "What we cannot see or deliver"), drawList(v.limits.length ? v.limits.map((l) => [l.subject, l.reason]) :
      [["nothing named", "the agent has not said what it cannot see"]])),
  ];
}

/** @param {string[][]} pairs */
const drawList = (pairs) => h("dl", {}, ...pairs.flatMap(([dt, dd]) => [h("dt", {}, dt), h("dd", {}, dd)]));

/** @param {import("./words.js").Need} n */
function drawNeed(n) {
  return h("article", {class: "need", id: `incident-${n.id}`, "data-key": String(n.id), "data-level": n.level, "data-verdict": `${n.level} ${n.cause}`},
    h("span", {class: "glyph", "aria-hidden": "true"}, n.glyph),
    h("div", {}, h("h2", {}, n.cause), h("p", {class: "name"}, n.scope), h("p", {class: "note"}, n.severity)),
    h("div", {}, h("p", {class: "lead"}, n.sentence), n.hurt && h("p", {class: "hurt"}, n.hurt),
      n.balancer && h("p", n.disputed ? {class: "opinion", "data-disputed": ""} : {class: "opinion"}, n.balancer),
      n.because && h("p", {class: "note"}, n.because), n.siblings && h("p", {class: "note"}, n.siblings), n.pattern && h("p", {class: "note"}, n.pattern),
      n.prefixes.length > 0 && drawPrefixes(n.prefixes),
      n.considered.length > 0 && h("details", {}, h("summary", {}, "What else was considered"), drawList(n.considered.map((c) => [c.cause, c.why])))),
    h("div", {}, h("p", {class: "fact"}, n.since), h("p", {class: "note"}, n.at)),
    h("div", {}, h("p", {class: "fact"}, n.sure), h("p", {class: "note"}, n.basis)),
    h("div", {}, n.response && h("p", {class: "response"}, n.response), h("ol", {}, ...n.advice.map((a) => h("li", {}, a)))));
}

/** @param {import("./words.js").Need["prefixes"]} prefixes */
const drawPrefixes = (prefixes) => h("table", {class: "prefixes"},
  h("caption", {}, "Clients that hold most workers: limit these"),
  h("thead", {}, h("tr", {}, h("th", {}, "Prefix"), h("th", {class: "n"}, "workers held"), h("th", {class: "n"}, "of them slow"))),
  h("tbody", {}, ...prefixes.map((x) => h("tr", {"data-key": x.prefix},
    h("th", {scope: "row"}, x.prefix), h("td", {class: "n"}, x.held), h("td", {class: "n"}, x.slow)))));

const columns = [["Service", ""], ["Verdict", ""], ["Since", "n"], ["Busy, 5 min", ""], ["Busy of limit", "n"], ["Busy | waiting", ""],
  ["Queue", "n"], ["Wait", "n"]];

/**
 * @param {View} v
 * @param {Picture} p
 */
function drawServices(v, p) {
  const limits = new Map(services(p).map((s) => [s.id, limitOf(s).value]));
  const now = Date.parse(p.status.at);
  /** @param {string} kind @param {...(Node|string|false)} children */
  const cell = (kind, ...children) => h("td", {role: "cell", class: kind}, ...children);
  return h("table", {role: "table"},
    h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, h("th", {role: "columnheader"}, h("span", {class: "unseen"}, "Severity")),
      ...columns.map(([name, kind]) => h("th", kind ? {role: "columnheader", class: kind} : {role: "columnheader"}, name)))),
    h("tbody", {role: "rowgroup", "data-steady": ""}, ...v.services.map((s) =>
      h("tr", {role: "row", "data-key": s.id, "data-level": s.level, "data-verdict": `${s.level} ${s.verdict}`},
        cell("glyph", h("span", {"aria-hidden": "true"}, s.glyph)),
        h("th", {role: "rowheader", scope: "row", class: "service"}, h("span", {class: "name"}, s.name), " ", h("span", {class: "note"}, s.what), " ", h("span", {class: "note limit"}, s.limit)),
        cell("verdict", h("span", {class: "chip"}, s.verdict), ...(s.reason ? [" ", h("span", {class: "note"}, s.reason)] : [])),
        cell("n since", s.since),
        cell("spark", drawSpark(histories.get(s.id) ?? [], limits.get(s.id) ?? null, now)),
        cell("n of", s.busy),
        cell("bars", drawBar(s.bar)),
        h("td", {role: "cell", class: "n queue", "data-label": "queue"}, s.queue),
        h("td", {role: "cell", class: "n wait", "data-label": "wait"}, s.wait)))));
}

const backendColumns = [["Backend", ""], ["Verdict", ""], ["Since", "n"], ["Balancer says", ""], ["Owes, of connections", "n"],
  ["Longest wait", "n"], ["Answers within", "n"], ["Usually within", "n"]];

/** @param {View} v */
function drawBackends(v) {
  /** @param {string} kind @param {string} label @param {string} text */
  const cell = (kind, label, text) => h("td", {role: "cell", class: kind, "data-label": label}, text);
  return h("table", {role: "table"},
    h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, h("th", {role: "columnheader"}, h("span", {class: "unseen"}, "Severity")),
      ...backendColumns.map(([name, kind]) => h("th", kind ? {role: "columnheader", class: kind} : {role: "columnheader"}, name)))),
    h("tbody", {role: "rowgroup", "data-steady": ""}, ...v.groups.flatMap((g) => [
      h("tr", {role: "row", class: "group", "data-key": g.key}, h("th", {role: "rowheader", scope: "colgroup", colspan: "9"},
        h("span", {class: "name"}, g.name), " ", h("span", {class: "note"}, g.note))),
      ...g.backends.map((b) => h("tr", {role: "row", "data-key": b.id, "data-level": b.level, "data-verdict": `${b.level} ${b.verdict} ${b.balancer}`},
        h("td", {role: "cell", class: "glyph"}, h("span", {"aria-hidden": "true"}, b.glyph)),
        h("th", {role: "rowheader", scope: "row", class: "service"}, h("span", {class: "name"}, b.name), " ", h("span", {class: "note"}, b.what),
          ...(b.limit ? [" ", h("span", {class: "note limit"}, b.limit)] : [])),
        h("td", {role: "cell", class: "verdict"}, h("span", {class: "chip"}, b.verdict), ...(b.reason ? [" ", h("span", {class: "note"}, b.reason)] : [])),
        h("td", {role: "cell", class: "n since"}, b.since),
        h("td", b.disputed ? {role: "cell", class: "opinion", "data-label": "balancer", "data-disputed": ""} : {role: "cell", class: "opinion", "data-label": "balancer"}, b.balancer),
        cell("n of", "owes", b.pending), cell("n longest", "longest", b.longest), cell("n answers", "within", b.answers), cell("n usually", "usually", b.usually))),
    ])));
}

const regionColumns = [["Region", ""], ["Verdict", ""], ["Since", "n"], ["Established, of connections", "n"], ["Retransmitting", "n"],
  ["Unanswered, of destinations", "n"], ["Answers within", "n"]];

/** @param {View} v */
const drawRegions = (v) => h("div", {class: "wide", role: "region", "aria-label": "Regions", tabindex: "0"}, h("table", {},
  h("thead", {}, h("tr", {}, ...regionColumns.map(([name, kind]) => h("th", kind ? {class: kind} : {}, name)))),
  h("tbody", {"data-steady": ""}, ...v.regions.map((r) => h("tr", {"data-key": r.id, "data-level": r.level, "data-verdict": `${r.level} ${r.verdict}`},
    h("th", {scope: "row"}, h("span", {class: "name"}, r.name), " ", h("span", {class: "note"}, r.what), ...(r.limit ? [" ", h("span", {class: "note limit"}, r.limit)] : [])),
    h("td", {class: "verdict"}, h("span", {"aria-hidden": "true", class: "glyph"}, r.glyph), " ", h("span", {class: "chip"}, r.verdict), ...(r.reason ? [" ", h("span", {class: "note"}, r.reason)] : [])),
    ...[r.since, r.established, r.retransmitting, r.destinations, r.answers].map((x) => h("td", {class: "n"}, x)))))));

/** @param {import("./words.js").Bar} b */
function drawBar(b) {
  /** @param {string} kind @param {number} x @param {number} y @param {number} width @param {number} height */
  const box = (kind, x, y, width, height) => ({class: kind, x: String(x), y: String(y), width: String(width), height: String(height)});
  return h("svg", {class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": b.label},
    b.tick > 0 && h("rect", box("box", 0, 0, b.tick, 8)),
    h("rect", box("busy", 0, 1, b.occupied, 6)),
    h("rect", {...box("waiting", b.occupied, 1, b.waiting, 6), fill: "url(#hatch)"}),
    b.tick > 0 && h("rect", box("tick", b.tick, -2, 0.8, 12)));
}

/**
 * Draws busy workers over the last five minutes; what is unknown stays a gap.
 * @param {History} points
 * @param {number|null} limit
 * @param {number} now ms
 */
function drawSpark(points, limit, now) {
  const known = points.flatMap((p) => p.v === null ? [] : [p.v]);
  if (known.length < 2) return h("span", {class: "note"}, "drawn live only");
  const top = Math.max(limit ?? 0, ...known, 1);
  /** @param {number} t */
  const x = (t) => (136 * (1 - (now - t) / historyFor)).toFixed(1);
  /** @param {number} v */
  const y = (v) => (17 - 14 * v / top).toFixed(1);
  let path = "";
  /** @type {number} */
  let before = -Infinity;
  for (const p of points) {
    if (p.v !== null) path += `${p.t - before > gapAfter ? "M" : "L"}${x(p.t)} ${y(p.v)}`;
    before = p.v === null ? -Infinity : p.t;
  }
  const last = points[points.length - 1];
  const of = limit === null ? "" : ` of ${limit}`;
  return h("svg", {class: "spark", viewBox: "0 0 140 20", role: "img", "aria-label": `busy over the last 5 min: ${Math.min(...known)} to ${Math.max(...known)}${of}`},
    limit !== null && h("path", {class: "limit", d: `M0 ${y(limit)}H140`}),
    h("path", {class: "line", d: path}),
    last.v !== null && h("circle", {class: "last", cx: x(last.t), cy: y(last.v), r: "2"}));
}

// DOM

const inSVG = new Set(["svg", "rect", "path", "circle"]);

/**
 * Makes an element; false and "" among the children are left out.
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node|string|false)} children
 * @returns {Element}
 */
function h(tag, attributes, ...children) {
  const e = inSVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  for (const c of children) if (c) e.append(c);
  return e;
}

/** Attributes that are not the drawing's: what the reader opened, and the flash under way. */
const kept = new Set(["open", "data-flash", "data-gone"]);

/**
 * Makes the element say what the drawn one says, and touches nothing that says
 * it already: focus, scroll position and selection stay.
 * @param {Element} e
 * @param {Element} drawn
 */
function patch(e, drawn) {
  const verdict = e.getAttribute("data-verdict");
  for (const {name} of [...e.attributes]) if (!kept.has(name) && !drawn.hasAttribute(name)) e.removeAttribute(name);
  for (const {name, value} of drawn.attributes) if (e.getAttribute(name) !== value) e.setAttribute(name, value);
  e.removeAttribute("data-gone");
  if (verdict !== null && verdict !== e.getAttribute("data-verdict")) e.setAttribute("data-flash", "");
  patchChildren(e, drawn);
}

/**
 * Patches the children: those with a key by their key, the others by their
 * place. In a list that is being used rows neither move nor leave.
 * @param {Element} e
 * @param {Element} drawn
 */
function patchChildren(e, drawn) {
  const steady = e.hasAttribute("data-steady") && (e.matches(":hover") || e.contains(document.activeElement));
  /** @param {Node} n */
  const key = (n) => n instanceof Element ? n.getAttribute("data-key") : null;
  const keyed = new Map([...e.children].filter((c) => key(c) !== null).map((c) => [key(c), c]));
  /** @type {ChildNode|null} */
  let at = e.firstChild;
  for (const want of [...drawn.childNodes]) {
    const k = key(want);
    const same = k === null ? at : keyed.get(k) ?? null;
    if (same && same.nodeName === want.nodeName && key(same) === k) {
      keyed.delete(k);
      if (want instanceof Element) patch(/** @type {Element} */ (same), want);
      else if (same.nodeValue !== want.nodeValue) same.nodeValue = want.nodeValue;
      if (same === at) at = at.nextSibling;
      else if (!steady) e.insertBefore(same, at);
    } else {
      e.insertBefore(want, steady ? null : at);
    }
  }
  if (steady) {
    for (const gone of keyed.values()) gone.setAttribute("data-gone", "");
    return;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// Reader

function hold() {
  heldAt = heldAt ? 0 : performance.now();
  holdButton.setAttribute("aria-pressed", String(heldAt > 0));
  paint();
}

addEventListener("keydown", (e) => {
  const on = /** @type {Element} */ (e.target);
  if (e.key !== " " || e.ctrlKey || e.altKey || e.metaKey || on.closest("button, summary, a, input")) return;
  e.preventDefault();
  hold();
});
holdButton.addEventListener("click", hold);
main.addEventListener("animationend", (e) => /** @type {Element} */ (e.target).removeAttribute("data-flash"));

/**
 * Takes out the white space between the elements that the server drew.
 * @param {Node} node
 */
function strip(node) {
  for (const c of [...node.childNodes]) {
    if (c instanceof Text && /^\s*\n\s*$/.test(c.data)) c.remove();
    else strip(c);
  }
}

strip(main);
lastAt = main.dataset.at ?? "";
aliveAt -= Number(main.dataset.age ?? 0) * 1e3;
holdButton.hidden = false;
setInterval(() => { showLive(); if (age() > silentAfter) paint(); }, paintEvery);
connect();
