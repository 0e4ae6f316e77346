// The page in words: a picture of the event stream goes in, what to paint comes
// out. words.go makes the same from the same JSON, and a test holds the two
// against each other, so a change here is a change there.

/**
 * @typedef {{value: number|null, unknown?: string}} Value
 * @typedef {{software: string, held: string, limit: number|null, origin: string, problem: string}} Workers
 * @typedef {{id: string, kind: string, name: string, listen?: string[], process?: string,
 *   namespace?: string, signals: Record<string, Value>, workers?: Workers|null, backend?: BackendOf|null, region?: RegionOf|null}} Scope
 * @typedef {{prefixes: number, source: string, limit: string, verdict?: {state: string, reason?: string}}} RegionOf
 * @typedef {{remote: string, group: string, source: string, also: string[]|null, limit: string,
 *   verdict?: {state: string, reason?: string, disputed?: boolean}}} BackendOf
 * @typedef {{prefix: string, held: number, slow: number}} Prefix
 * @typedef {{cause: string, why: string}} Considered
 * @typedef {{id: number, state: string, scope: string, cause: string, rule?: string, severity: string, certainty: string,
 *   basis: string, sentence: string, opened_at: string|null, no_evidence_since: string|null, acknowledged_at: string|null,
 *   hurt?: string, siblings?: string, because?: string, because_incident?: number, silenced_by?: string, balancer_down_at?: string|null, balancer_lag_seconds?: number|null,
 *   acknowledged_by?: string, pattern?: string, pattern_evidence?: string, response?: string, prefixes?: Prefix[],
 *   considered: Considered[], advice: string[]}} Incident
 * @typedef {{tier: string, interval_seconds: number, cost_seconds: number, age_seconds: number|null, sockets: number,
 *   completeness: string, last_error?: string, covered_by_full: boolean}} Look
 * @typedef {{subject: string, reason: string}} Limit
 * @typedef {{name: string, queued: number, undelivered: number, failing?: boolean, last_error: string,
 *   held?: number, dead_letters?: number}} Channel
 * @typedef {{at: string, host: string, version: string, ready: boolean, reader: string,
 *   budget: {allowed_ratio: number, used_ratio: number}}} Status
 * @typedef {{status: Status, scopes: Scope[], incidents: Incident[], looks: Look[], limits: Limit[],
 *   channels?: Channel[]}} Picture
 * @typedef {{label: string, occupied: number, waiting: number, tick: number}} Bar hundredths of its length; tick 0 is none
 * @typedef {{id: number, level: string, glyph: string, cause: string, scope: string, severity: string, sentence: string,
 *   hurt: string, pattern: string, response: string, balancer: string, disputed: boolean, siblings: string, because: string,
 *   since: string, at: string, sure: string, basis: string, advice: string[],
 *   prefixes: {prefix: string, held: string, slow: string}[], considered: Considered[]}} Need
 * @typedef {{id: string, name: string, what: string, level: string, glyph: string, verdict: string, reason: string,
 *   since: string, busy: string, limit: string, bar: Bar, queue: string, wait: string}} Service
 * @typedef {{id: string, name: string, what: string, limit: string, level: string, glyph: string, verdict: string,
 *   reason: string, since: string, balancer: string, disputed: boolean, pending: string, longest: string,
 *   answers: string, usually: string}} Backend
 * @typedef {{key: string, name: string, note: string, backends: Backend[]}} Group
 * @typedef {{id: string, name: string, what: string, limit: string, level: string, glyph: string, verdict: string,
 *   reason: string, since: string, established: string, retransmitting: string, destinations: string, answers: string}} Region
 * @typedef {{tier: string, age: string, every: string, cost: string, sockets: string, state: string}} LookRow
 * @typedef {{title: string, sub: string, lost: boolean, needs: Need[], more: string, services: Service[],
 *   groups: Group[], rest: string, regions: Region[], regionsRest: string, unclassified: string, looks: LookRow[], limits: Limit[], version: string}} View
 */

/** Seconds after which a picture is not trusted: three heartbeats. */
export const silentAfter = 15;

const maxNeeds = 5;
const maxBackends = 100;
const maxRegions = 20;

/**
 * Words a picture that is age seconds old.
 * @param {Picture} p
 * @param {number} age
 * @returns {View}
 */
export function viewOf(p, age) {
  const open = openOf(p);
  const {groups, rest} = backendsOf(p, open);
  const regions = regionsOf(p, open);
  return {
    title: title(p, open, age),
    sub: `${p.status.host} · ${p.status.at.slice(0, 10)} ${clock(p.status.at)} · ${p.status.reader || "no reader yet"} · ` +
      `${percent(p.status.budget.used_ratio)} of one core, budget ${percent(p.status.budget.allowed_ratio)}`,
    lost: age > silentAfter,
    needs: open.slice(0, maxNeeds).map((inc) => needOf(p, inc)),
    more: open.length > maxNeeds ? `and ${open.length - maxNeeds} more` : "",
    services: services(p).map((s) => serviceOf(p, s, open)),
    groups,
    rest,
    regions: regions.slice(0, maxRegions),
    regionsRest: regions.length > maxRegions ? `and ${regions.length - maxRegions} more` : "",
    unclassified: unclassified(p),
    looks: (p.looks ?? []).map(lookOf),
    limits: [...undelivered(p), ...(p.limits ?? [])],
    version: p.status.version,
  };
}

/**
 * The channels that somebody was not told by, or is not told by now.
 * @param {Picture} p
 * @returns {Limit[]}
 */
const undelivered = (p) => (p.channels ?? []).filter((c) =>
  c.failing || c.undelivered > 0 || (c.dead_letters ?? 0) > 0 || (c.held ?? 0) > 0).map((c) => ({
  subject: `notices to ${c.name}`,
  reason: [
    `${c.queued} wait, ${c.undelivered} were given up`,
    (c.held ?? 0) > 0 ? `; ${c.held} wait because so many an hour were sent` : "",
    (c.dead_letters ?? 0) > 0 ? `; ${c.dead_letters} are kept, and can be tried again` : "",
    c.last_error && `: ${c.last_error.replace(`channel ${c.name}: `, "")}`,
  ].join(""),
}));

/** @param {Picture} p */
export const services = (p) => (p.scopes ?? []).filter((s) => s.kind === "service");

/** @param {Picture} p */
const backends = (p) => (p.scopes ?? []).filter((s) => s.kind === "backend");

const ranks = ["critical", "warning", "watch"];

/** @param {Picture} p */
function openOf(p) {
  /** @param {Incident} i */
  const opened = (i) => i.opened_at ? Date.parse(i.opened_at) : Number.MAX_SAFE_INTEGER;
  return (p.incidents ?? []).filter((i) => i.state === "open").sort((a, b) =>
    explained(a) - explained(b) || ranks.indexOf(a.severity) - ranks.indexOf(b.severity) || calledUp(p, a) - calledUp(p, b) || opened(a) - opened(b) ||
    (a.scope < b.scope ? -1 : a.scope > b.scope ? 1 : a.id - b.id));
}

/**
 * 0 for an incident of a backend whose balancer calls it up: it goes first.
 * @param {Picture} p
 * @param {Incident} i
 */
const calledUp = (p, i) => balancerOf(p, i).disputed ? 0 : 1;

/** @param {Incident} i one that another explains goes last */
const explained = (i) => i.because ? 1 : 0;

/** @param {Incident} i */
const becauseOf = (i) => spaced(i.because) + (i.because_incident ? ` (incident ${i.because_incident})` : "");

/**
 * @param {Picture} p
 * @param {Incident[]} all
 * @param {number} age
 */
function title(p, all, age) {
  const own = all.findIndex((i) => explained(i) === 1);
  const open = own > 0 ? all.slice(0, own) : all;
  const blind = services(p).filter((s) => occupied(s).value === null).length;
  const stale = backends(p).filter((s) => s.backend?.verdict?.state === "unknown" && s.backend.verdict.reason === "stale").length;
  const up = new Set(open.filter((i) => calledUp(p, i) === 0).map((i) => i.scope)).size;
  if (age > silentAfter) return `No word from the agent for ${span(age)}: this is how it was`;
  if (open.length === 1 && open[0].no_evidence_since) return `${nameOf(open[0].scope)}: unknown, ${causeOf(open[0])} when last seen`;
  if (up === 1 && open.every((i) => i.scope === open[0].scope)) return `${nameOf(open[0].scope)}: ${causeOf(open[0])}, and its balancer says up`;
  if (up > 0) return `${open.length} things are going wrong on ${p.status.host}, and balancers call ${up} of the backends up`;
  if (open.length === 1) return `${nameOf(open[0].scope)}: ${causeOf(open[0])}`;
  if (open.length > 1) return `${open.length} things are going wrong on ${p.status.host}`;
  if (!p.status.ready) return "Looking for the first time";
  if (blind === 1) return "Unknown: 1 service cannot be seen";
  if (blind > 1) return `Unknown: ${blind} services cannot be seen`;
  if (stale === 1) return "Unknown: 1 backend cannot be seen";
  if (stale > 1) return `Unknown: ${stale} backends cannot be seen`;
  return "Nothing found wrong in what can be seen";
}

/**
 * @param {Picture} p
 * @param {Incident} inc
 * @returns {Need}
 */
function needOf(p, inc) {
  const blind = inc.no_evidence_since;
  let basis = blind ? `no evidence since ${clock(blind)}` : inc.basis;
  if (inc.acknowledged_at) basis += `; taken by ${inc.acknowledged_by || "someone"}`;
  const balancer = balancerOf(p, inc);
  let pattern = spaced(inc.pattern ?? "");
  if (pattern && inc.pattern_evidence) pattern += `: ${inc.pattern_evidence}`;
  return {
    id: inc.id, level: level(inc), glyph: glyphs[level(inc)] ?? "", cause: causeOf(inc), scope: nameOf(inc.scope), severity: inc.severity,
    sentence: inc.sentence, hurt: inc.hurt ? `Who is hurt: ${inc.hurt}` : "", pattern, response: inc.response ?? "", balancer: balancer.words, disputed: balancer.disputed,
    siblings: inc.siblings ?? "", because: unsent(inc), since: since(p, inc), at: clock(inc.opened_at),
    sure: blind ? "unknown" : inc.certainty, basis, advice: inc.advice ?? [],
    prefixes: (inc.prefixes ?? []).map((x) => ({prefix: x.prefix, held: String(x.held), slow: String(x.slow)})),
    considered: (inc.considered ?? []).map((c) => ({cause: spaced(c.cause), why: c.why})),
  };
}

/**
 * @param {Picture} p
 * @param {Scope} s
 * @param {Incident[]} open
 * @returns {Service}
 */
function serviceOf(p, s, open) {
  const held = occupied(s), limit = limitOf(s), waiting = signal(s, "queue_depth");
  const inc = open.find((i) => i.scope === s.id);
  let shown = "normal", verdict = "normal", why = forecast(s);
  if (inc) {
    shown = level(inc);
    verdict = causeOf(inc);
    if (inc.no_evidence_since) why = `no evidence since ${clock(inc.no_evidence_since)}`;
  } else if (held.value === null) {
    shown = verdict = "unknown";
    why = reason(held);
  }
  return {
    id: s.id, name: s.name, what: whatOf(s), level: shown, glyph: glyphs[shown] ?? "", verdict, reason: why,
    since: inc ? since(p, inc) : "–", busy: share(held, limit),
    limit: limitWords(s), bar: barOf(held, limit, waiting), queue: share(waiting, signal(s, "queue_limit")),
    wait: seconds(signal(s, "queue_wait_seconds")),
  };
}

/**
 * The backends by group, and how many are left out, in words. Those with
 * something to say go first.
 * @param {Picture} p
 * @param {Incident[]} open
 */
function backendsOf(p, open) {
  /** @param {Scope} s */
  const groupOf = (s) => s.backend?.group ?? "";
  /** @param {string} a @param {string} b */
  const order = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  const all = backends(p).sort((a, b) => order(groupOf(a), groupOf(b)) || order(a.name, b.name) || order(a.id, b.id));
  const rows = all.map((s) => backendOf(p, s, open));
  const calm = rows.filter((r) => r.level === "normal").length;
  let loudLeft = maxBackends, calmLeft = Math.max(0, maxBackends - (rows.length - calm)), shown = 0;
  /** @type {Group[]} */
  const groups = [];
  /** @type {Map<string, {total: number, failing: number}>} */
  const counts = new Map();
  all.forEach((s, i) => {
    const name = groupOf(s), count = counts.get(name) ?? {total: 0, failing: 0};
    counts.set(name, count);
    count.total++;
    if (rows[i].level === "critical" || rows[i].level === "warning") count.failing++;
    if (rows[i].level === "normal" ? calmLeft-- <= 0 : loudLeft-- <= 0) return;
    if (groups.at(-1)?.name !== name) groups.push({key: `group ${name}`, name, note: "", backends: []});
    groups[groups.length - 1].backends.push(rows[i]);
    shown++;
  });
  for (const g of groups) g.note = `${counts.get(g.name)?.failing} of ${counts.get(g.name)?.total} failing`;
  return {groups, rest: all.length > shown ? `and ${all.length - shown} more` : ""};
}

/**
 * @param {Picture} p
 * @param {Scope} s
 * @param {Incident[]} open
 * @returns {Backend}
 */
function backendOf(p, s, open) {
  const b = s.backend, inc = open.find((i) => i.scope === s.id);
  let what = s.process || "unknown process", shown = "unknown", verdict = "unknown", why = "the agent does not say";
  if (b) {
    what += ` to ${b.remote} · ${b.source}`;
    if (b.also?.length) what += ` · also ${b.also.join(", ")}`;
    if (b.verdict?.state === "ok") [shown, verdict, why] = ["normal", "answers", ""];
    else if (b.verdict?.state === "unknown") why = reason({value: null, unknown: b.verdict.reason});
  }
  if (inc) {
    [shown, verdict, why] = [level(inc), causeOf(inc), whyOf(inc)];
  }
  return {
    id: s.id, name: s.name, what, limit: b?.limit ?? "", level: shown, glyph: glyphs[shown] ?? "", verdict, reason: why,
    since: inc ? since(p, inc) : "–", balancer: opinion(s), disputed: !!inc && disputed(s, inc),
    pending: share(signal(s, "pending"), signal(s, "established")), longest: seconds(signal(s, "pending_longest_seconds")),
    answers: within(signal(s, "answer_now_seconds")), usually: within(signal(s, "answer_usual_seconds")),
  };
}

/**
 * Why an incident is not sent.
 * @param {Incident} inc
 */
function unsent(inc) {
  if (inc.because) return `explained by ${becauseOf(inc)}, and not sent`;
  return inc.silenced_by ? `silenced by ${inc.silenced_by}` : "";
}

/**
 * What else is known of a verdict: that nothing shows it any more, or what
 * explains it.
 * @param {Incident} inc
 */
function whyOf(inc) {
  if (inc.no_evidence_since) return `no evidence since ${clock(inc.no_evidence_since)}`;
  return inc.because ? `explained by ${becauseOf(inc)}` : "";
}

/**
 * The regions, those with something to say first.
 * @param {Picture} p
 * @param {Incident[]} open
 */
function regionsOf(p, open) {
  /** @param {Region} r */
  const calm = (r) => r.level === "normal" || r.level === "unknown" ? 1 : 0;
  return (p.scopes ?? []).filter((s) => s.kind === "region").map((s) => regionOf(p, s, open))
    .sort((a, b) => calm(a) - calm(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/**
 * @param {Picture} p
 * @param {Scope} s
 * @param {Incident[]} open
 * @returns {Region}
 */
function regionOf(p, s, open) {
  const r = s.region, inc = open.find((i) => i.scope === s.id), again = signal(s, "retransmitting_share").value;
  let what = "", shown = "unknown", verdict = "unknown", why = "the agent does not say";
  if (r) {
    what = `${r.prefixes} ${r.prefixes === 1 ? "prefix" : "prefixes"} · ${r.source}`;
    if (r.verdict?.state === "ok") [shown, verdict, why] = ["normal", "answers", ""];
    else if (r.verdict?.state === "unknown") why = reason({value: null, unknown: r.verdict.reason});
  }
  if (inc) [shown, verdict, why] = [level(inc), causeOf(inc), whyOf(inc)];
  return {
    id: s.id, name: s.namespace ? `${s.name}@${s.namespace}` : s.name, what, limit: r?.limit ?? "", level: shown, glyph: glyphs[shown] ?? "", verdict, reason: why,
    since: inc ? since(p, inc) : "–", established: share(signal(s, "established"), signal(s, "connections")),
    retransmitting: again === null ? "unknown" : percent(again), destinations: share(signal(s, "destinations_unanswered"), signal(s, "destinations")),
    answers: within(signal(s, "answer_now_seconds")),
  };
}

/**
 * How much of what this host began is in no region.
 * @param {Picture} p
 */
function unclassified(p) {
  const rest = (p.scopes ?? []).find((s) => s.id === "rest");
  const all = rest ? signal(rest, "outgoing").value : null, none = rest ? signal(rest, "unclassified_share").value : null;
  if (all === null || none === null) return "";
  return `${percent(none)} of ${whole(all)} connections that this host began are in no region.`;
}

/**
 * Whether the incident says that the backend fails, and its balancer calls it up.
 * @param {Scope} s
 * @param {Incident} i
 */
function disputed(s, i) {
  return !!s.backend?.verdict?.disputed && (i.severity === "critical" || i.severity === "warning");
}

/** @param {Scope} s */
function opinion(s) {
  const v = signal(s, "balancer_up");
  if (v.value !== null) return v.value >= 1 ? "up" : "down";
  return v.unknown === "never_seen" ? "not asked" : "unknown";
}

/**
 * The balancer's opinion beside an incident of its backend.
 * @param {Picture} p
 * @param {Incident} inc
 */
function balancerOf(p, inc) {
  const lag = inc.balancer_lag_seconds;
  if (inc.balancer_down_at && typeof lag === "number") {
    const when = lag < 0 ? `${span(-lag)} before` : `${span(lag)} after`;
    return {words: `balancer: down since ${clock(inc.balancer_down_at)}, ${when} we suspected it`, disputed: false};
  }
  const s = backends(p).find((x) => x.id === inc.scope);
  const says = s ? opinion(s) : "not asked", disagrees = !!s && disputed(s, inc);
  if (says === "not asked") return {words: "", disputed: disagrees};
  return {words: says === "up" && !disagrees ? "balancer: up when last asked" : `balancer: ${says}`, disputed: disagrees};
}

/**
 * How long answers take: the end of a bucket, so no more than that.
 * @param {Value} v
 */
function within(v) {
  if (v.value === null) return v.unknown === "no_traffic" ? "no traffic" : "unknown";
  return v.value < 1 ? `${whole(v.value * 1e3)} ms` : `${tenth(v.value)} s`;
}

/**
 * How many workers are taken. An agent older than the signal gives what it is
 * made of.
 * @param {Scope} s
 * @returns {Value}
 */
export function occupied(s) {
  return s.signals.workers_occupied ?? signal(s, s.workers?.held === "connection" ? "accepted" : "busy");
}

/**
 * @param {Scope} s
 * @returns {Value}
 */
export function limitOf(s) {
  const learned = signal(s, "workers_limit");
  if (learned.value !== null) return learned;
  return {value: s.workers?.limit ?? null, unknown: "never_seen"};
}

/** @param {Scope} s */
function limitWords(s) {
  const limit = limitOf(s).value;
  let words = "limit unknown: no forecast before the first saturation";
  if (limit !== null) words = `limit ${whole(limit)}, ${s.workers?.origin || "learned"}`;
  return s.workers?.problem ? `${words}; ${s.workers.problem}` : words;
}

/** @param {Scope} s */
function forecast(s) {
  const held = occupied(s).value, limit = limitOf(s).value;
  if (held === null || limit === null) return "";
  const full = signal(s, "workers_full_in_seconds"), error = signal(s, "workers_full_in_error_seconds").value;
  const fast = signal(s, "workers_full_in_fast_seconds").value;
  const all = `All ${whole(limit)} workers`;
  if (limit > 0 && held >= limit) return `${all} are busy.`;
  if (full.value !== null && error !== null) return `${all} busy in ${span(full.value)} (± ${span(error)}) at this rate.`;
  if (full.value !== null) return `${all} busy in ${span(full.value)} at this rate.`;
  if (fast !== null) return `${all} busy in ${span(fast)} at the rate of the last 15 s.`;
  if (full.unknown && full.unknown !== "not_filling") return `no forecast: ${reason(full)}`;
  return "";
}

/**
 * @param {Value} held
 * @param {Value} limit
 * @param {Value} waiting
 * @returns {Bar}
 */
function barOf(held, limit, waiting) {
  const h = Math.max(held.value ?? 0, 0), w = Math.max(waiting.value ?? 0, 0);
  let label = `${count(held)} busy, ${count(waiting)} waiting`, scale = Math.max(h + w, 1), tick = 0;
  if (limit.value !== null && limit.value > 0) {
    // A ninth of the bar lies behind the tick, for what waits there.
    scale = Math.max(limit.value / 0.9, h + w);
    tick = tenths(100 * limit.value / scale);
    label += `, limit ${whole(limit.value)}`;
  }
  return {label, occupied: tenths(100 * h / scale), waiting: tenths(100 * w / scale), tick};
}

/**
 * @param {Look} l
 * @returns {LookRow}
 */
function lookOf(l) {
  const seen = l.age_seconds !== null && l.age_seconds !== undefined;
  let state = seen ? l.completeness : "not yet";
  if (l.last_error) state = `failing: ${l.last_error}`;
  else if (l.covered_by_full) state = "full looks as often, and sees it all";
  return {
    tier: l.tier, age: seen ? `${tenth(l.age_seconds ?? 0)} s` : "–", every: `${hundredth(l.interval_seconds)} s`,
    cost: `${tenth(l.cost_seconds * 1e3)} ms`, sockets: seen ? String(l.sockets) : "–", state,
  };
}

/** @param {Scope} s */
function whatOf(s) {
  const ends = (s.listen ?? []).map((l) => l.replace(/^(0\.0\.0\.0|\[::\]):/, ":"));
  const what = s.workers?.software || s.process || "listener";
  return ends.length ? `${what} · ${ends.join(" ")}` : what;
}

/**
 * @param {Scope} s
 * @param {string} name
 * @returns {Value}
 */
const signal = (s, name) => s.signals[name] ?? {value: null, unknown: "never_seen"};

/** @param {Incident} i */
const level = (i) => i.no_evidence_since ? "unknown" : i.severity;

/** @type {Record<string, string>} */
const glyphs = {critical: "◆", warning: "▲", watch: "○", unknown: "◌"};

/** @param {Incident} i */
const causeOf = (i) => i.rule ? `rule ${i.rule}` : spaced(i.cause);

/** @param {string} id */
const nameOf = (id) => id.includes("/") ? id.slice(id.indexOf("/") + 1) : id;

/**
 * @param {Picture} p
 * @param {Incident} i
 */
const since = (p, i) => i.opened_at ? span((Date.parse(p.status.at) - Date.parse(i.opened_at)) / 1e3) : "–";

/** @param {string|null} t */
const clock = (t) => t ? `${new Date(t).toISOString().slice(11, 19)} UTC` : "–";

/** @type {Record<string, string>} */
const reasons = {
  never_seen: "never seen", stale: "stale", no_listener: "no listener",
  no_ability: "not visible to this reader", not_enough: "not enough looks yet",
  not_filling: "not filling", no_limit: "limit not known", not_such: "not that kind of server", contradicted: "contradicted by what is occupied",
  no_traffic: "no traffic", not_answered: "no answer for a minute, and no cause found", no_evidence: "no evidence",
};

/** @param {Value} v */
const reason = (v) => reasons[v.unknown ?? ""] ?? spaced(v.unknown ?? "");

/** @param {Value} v */
const count = (v) => v.value === null ? "unknown" : whole(v.value);

/**
 * A part of a whole: "7 of 20"; "unknown" alone when neither is known.
 * @param {Value} part
 * @param {Value} of
 */
const share = (part, of) => part.value === null && of.value === null ? "unknown" : `${count(part)} of ${count(of)}`;

/** @param {Value} v */
const seconds = (v) => v.value === null ? "unknown" : `${tenth(v.value)} s`;

/**
 * A duration with two units at most: "2 min 27 s".
 * @param {number} seconds
 */
export function span(seconds) {
  const s = Math.floor(Math.max(seconds, 0) + 0.5), of = Math.floor;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${of(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${of(s / 3600)} h ${of(s % 3600 / 60)} min`;
  return `${of(s / 86400)} d ${of(s % 86400 / 3600)} h`;
}

/** @param {number} v */
const whole = (v) => String(Math.floor(v + 0.5));
/** @param {number} v */
const tenths = (v) => Math.floor(v * 10 + 0.5) / 10;
/** @param {number} v */
const tenth = (v) => tenths(v).toFixed(1);
/** @param {number} v */
const hundredth = (v) => (Math.floor(v * 100 + 0.5) / 100).toFixed(2);
/** @param {number} share */
const percent = (share) => `${hundredth(share * 100)} %`;
/** @param {string} s */
const spaced = (s) => s.replaceAll("_", " ");
