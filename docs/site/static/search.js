// Finds sections of the pages and entries of the API reference, also when the page was opened from the disk.
// The rule: any word may match; a rare word, a word of a heading and more of the words count for more.
"use strict";

const STOP = new Set(
  ("a an and are as at be been by can could did do does for from had has have how i if in into is it its me my of on or " +
   "our should so that the their then there these this to use used using was we what when where which who why will with " +
   "would you your").split(" "));
const SAME = {
  login: "sign", signin: "sign", logout: "signout", db: "database", renew: "refresh", renewal: "refresh",
  headless: "browser", docker: "container", kubernetes: "container", crontab: "cron", certificate: "ca", ratelimit: "429",
  async: "asyncio", postgres: "postgresql", throttle: "limits", paginate: "pages", pagination: "pages", paging: "pages",
  unittest: "tests", m2m: "machines", expire: "expires", cli: "command",
};

function stem(word) {
  const short = word.length < 5 ? word : word.replace(/(?:ies|ied)$/, "y").replace(/(?:ing|ed|es|s|e)$/, "");
  return short.length > 2 ? short : word;
}

function words(text) {
  const found = [];
  for (const match of text.toLowerCase().matchAll(/[\p{L}\p{N}_]+/gu)) {
    const parts = match[0].includes("_") ? [match[0], ...match[0].split("_")] : [match[0]];
    for (const part of parts) if (part) found.push(stem(SAME[part] || part));
  }
  return found;
}

function count(list) {
  const counts = new Map();
  for (const word of list) counts.set(word, (counts.get(word) || 0) + 1);
  return counts;
}

function prepare(entries) {
  const frequency = new Map();
  const prepared = entries.map(([address, page, heading, text]) => {
    const entry = {
      address, page, heading, text,
      inHeading: count(words(heading)), inPage: count(words(page)), inText: count(words(text)),
    };
    entry.length = text.length;
    for (const word of new Set([...entry.inHeading.keys(), ...entry.inText.keys()])) {
      frequency.set(word, (frequency.get(word) || 0) + 1);
    }
    return entry;
  });
  return {entries: prepared, frequency};
}

function score(entry, query, index) {
  let sum = 0, matched = 0, total = 0;
  for (const {word, variants} of query) {
    let best = 0, rarity = Math.log(1 + index.entries.length / (1 + (index.frequency.get(word) || 0)));
    if (!index.frequency.has(word) && variants.length < 2) rarity *= 0.3;  // a word that is nowhere
    for (const variant of variants) {
      const times = entry.inText.get(variant) || 0;
      const inText = times / (times + 0.8 + entry.length / 1200);
      const heading = entry.inHeading.has(variant) ? 2.2 / (1 + 0.12 * entry.inHeading.size) : 0;
      const page = entry.inPage.has(variant) ? 0.5 : 0;
      best = Math.max(best, (inText + heading + page) * (variant === word ? 1 : 0.6));
    }
    total += rarity;
    if (best > 0) { sum += best * rarity; matched += rarity; }
  }
  return total ? sum * (matched / total) ** 1.5 : 0;
}

function search(index, text) {
  const all = words(text), asked = all.filter((word) => !STOP.has(word));
  const query = [...new Set(asked.length ? asked : all)].map((word) => ({
    word,
    variants: [word, ...[...index.frequency.keys()].filter(
      (other) => word.length > 2 && other !== word && other.startsWith(word)).slice(0, 40)],
  }));
  return index.entries
    .map((entry) => ({entry, points: score(entry, query, index) * (entry.page.startsWith("SlyAPI.") ? 0.8 : 1)}))
    .filter(({points}) => points > 0)
    .sort((one, other) => other.points - one.points)
    .slice(0, 20)
    .map(({entry}) => ({...entry, found: query.flatMap(({variants}) => variants)}));
}

function marked(text, found) {
  const node = document.createElement("p");
  const pieces = text.split(/([\p{L}\p{N}_]+)/u);
  const hits = pieces.map((piece) => words(piece).some((word) => found.includes(word) && !STOP.has(piece.toLowerCase())));
  const first = Math.max(0, hits.indexOf(true) - 16);
  if (first) node.append("… ");
  pieces.slice(first, first + 80).forEach((piece, offset) => {
    if (hits[first + offset]) {
      node.append(Object.assign(document.createElement("mark"), {textContent: piece}));
    } else {
      node.append(piece);
    }
  });
  if (pieces.length > first + 80) node.append(" …");
  return node;
}

function show(results, text) {
  const list = document.querySelector("#search-results");
  list.replaceChildren(...results.map((result) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = result.address;
    link.textContent = result.heading;
    item.append(link);
    if (result.page !== result.heading) {
      item.append(Object.assign(document.createElement("span"), {textContent: result.page}));
    }
    item.append(marked(result.text, result.found));
    return item;
  }));
  const said = results.length === 20 ? "The best 20 results" : `${results.length} result${results.length === 1 ? "" : "s"}`;
  document.querySelector("#search-count").textContent = text.trim() ? `${said} for “${text.trim()}”` : "";
}

function start() {
  const index = prepare(window.searchIndex);
  const field = document.querySelector("#search-field");
  const run = () => {
    show(search(index, field.value), field.value);
    const address = new URL(location.href);
    address.searchParams.set("q", field.value);
    history.replaceState(null, "", address);
  };
  field.value = new URLSearchParams(location.search).get("q") || "";
  field.addEventListener("input", run);
  field.form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  field.focus();
  run();
}

start();
