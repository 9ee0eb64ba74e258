"use strict";

const $ = (id) => document.getElementById(id);
// The pages before this one, by the image that each came after; what is shown; and which is chosen.
let summary, stack = [null], shown = [], chosen = 0, asked = 0;

async function call(place, body) {
  const how = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer, document_;
  try {
    answer = await fetch(place, how);
    document_ = await answer.json();
  } catch {
    say("The review has ended, or its command was stopped. What was decided is kept.");
    return null;
  }
  if (!answer.ok) { say(document_.error); return null; }
  // What is only looked at tells nothing of the last decision, whose error stays.
  if (body !== undefined) say("");
  return document_;
}

function say(text) { $("error").textContent = text; }

function element(name, text = "", properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(text);
  return made;
}

function picture(place, alt) {
  const image = element("img", "", { src: place, alt, loading: "lazy" });
  image.addEventListener("load", () => image.classList.toggle("large", image.naturalWidth >= 128));
  return image;
}

function showCounts(counts) {
  const total = counts.open + counts.accepted + counts.rejected;
  $("counts").replaceChildren(
    `${total.toLocaleString()} images: `,
    element("span", `${counts.accepted.toLocaleString()} accepted`, { className: "accepted" }), ", ",
    element("span", `${counts.rejected.toLocaleString()} rejected`, { className: "rejected" }),
    `, ${counts.open.toLocaleString()} open`,
  );
}

function query() {
  const wanted = { class: $("class").value, decision: $("decision").value, score: $("score").value,
    least: $("least").value, most: $("most").value, after: stack.at(-1) ?? "" };
  return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== ""));
}

async function load(last = false) {
  const turn = ++asked;
  const found = await call(`api/images?${query()}`);
  if (!found || turn !== asked) return;
  shown = found.images;
  chosen = last ? Math.max(shown.length - 1, 0) : 0;
  const tiles = [];
  shown.forEach((image, place) => {
    if (!place || shown[place - 1].class !== image.class) tiles.push(heading(image.class));
    tiles.push(tile(image, place));
  });
  $("grid").replaceChildren(...tiles);
  $("previous").disabled = stack.length === 1;
  $("next").disabled = shown.length === 0;
  $("where").textContent = shown.length
    ? `page ${stack.length.toLocaleString()}, ${shown.length} of ${found.total.toLocaleString()} images`
    : "no further images of this kind";
  choose(chosen);
}

function heading(number) {
  const of = summary.classes[number];
  const made = element("h2", `${of.name} `);
  made.dataset.class = number;
  made.append(element("small",
    `${of.accepted.toLocaleString()} accepted, ${of.rejected.toLocaleString()} rejected, ${of.open.toLocaleString()} open`));
  return made;
}

function tile(image, place) {
  const name = $("score").value, score = image.scores[name];
  const made = element("div", "", { className: `tile ${image.decision}`, id: `tile-${image.number}` });
  made.setAttribute("role", "option");
  made.append(picture(`thumb/${image.number}`, `${image.class_name}, ${image.item_id}`));
  made.append(score === undefined ? "no score" : score.toFixed(3));
  made.addEventListener("click", () => choose(place));
  return made;
}

function choose(place) {
  const image = shown[place];
  document.querySelectorAll(".tile[aria-selected]").forEach((one) => one.removeAttribute("aria-selected"));
  if (!image) { $("details").replaceChildren("Nothing is chosen."); return; }
  chosen = place;
  const made = $(`tile-${image.number}`);
  made.setAttribute("aria-selected", "true");
  made.scrollIntoView({ block: "nearest" });
  $("grid").setAttribute("aria-activedescendant", made.id);
  detail(image.number);
}

async function detail(number) {
  const found = await call(`details/${number}`);
  if (!found || shown[chosen]?.number !== number) return;
  const buttons = element("div", "", { className: "choice" });
  for (const [word, decision] of [["accept", "accepted"], ["reject", "rejected"]]) {
    const button = element("button", word, { type: "button" });
    button.addEventListener("click", () => decide(decision));
    buttons.append(button);
  }
  buttons.append(element("strong", found.decision, { className: found.decision }));
  const parts = [picture(`image/${number}`, found.item_id), buttons, element("h3", found.class_name), scores(found)];
  if (found.parents.length) parts.push(element("h3", "parents"), parents(found));
  parts.push(element("h3", "lineage"), facts(found.facts));
  $("details").replaceChildren(...parts);
}

function scores(found) {
  const list = element("dl");
  for (const [name, score] of Object.entries(found.scores)) {
    list.append(element("dt", name), element("dd", score.toFixed(4)));
  }
  return list;
}

function parents(found) {
  const made = element("div", "", { className: "parents" });
  found.parents.forEach((parent, place) => {
    const figure = element("figure");
    if (parent.is_there) figure.append(picture(`parent/${found.number}/${place}`, parent.file));
    const lost = parent.file ? `${parent.file} (not found; --images DIR says where)` : parent.item_id;
    figure.append(element("figcaption", parent.is_there ? parent.file : lost));
    made.append(figure);
  });
  return made;
}

function facts(row) {
  const list = element("dl");
  const { lineage, ...rest } = row;
  const short = (value) => typeof value === "string" ? value : JSON.stringify(value, null, 1);
  for (const [name, value] of Object.entries({ ...rest, ...lineage })) {
    if (value === null || value === "" || name === "scores") continue;
    list.append(element("dt", name), element("dd", short(value)));
  }
  return list;
}

function take(answer) {
  showCounts(answer.counts);
  Object.assign(summary.classes[answer.class], answer.class_counts);
  const title = document.querySelector(`#grid h2[data-class="${answer.class}"]`);
  if (title) title.replaceWith(heading(answer.class));
  const image = shown.find((one) => one.number === answer.number);
  if (!image) return;
  image.decision = answer.decision;
  $(`tile-${answer.number}`).className = `tile ${answer.decision}`;
}

async function decide(decision) {
  const image = shown[chosen];
  if (!image) return;
  const answer = await call("api/decide", { number: image.number, decision });
  if (!answer) return;
  take(answer);
  if (shown[chosen]?.number === image.number) await step(1, true);
}

async function undo() {
  const answer = await call("api/undo", {});
  if (!answer) return;
  if (answer.number === undefined) { say("There is nothing to undo."); return; }
  take(answer);
  const place = shown.findIndex((one) => one.number === answer.number);
  if (place >= 0) choose(place);
  else say(`Undone: ${answer.class_name}, ${answer.item_id}, which is on another page, is ${answer.decision}.`);
}

async function step(by, stays = false) {
  const place = chosen + by;
  if (place >= 0 && place < shown.length) choose(place);
  else if (stays && !(await turn(by))) choose(chosen);
  else if (!stays) await turn(by);
}

async function turn(by) {
  if (by > 0 && shown.length) stack.push(shown.at(-1).number);
  else if (by < 0 && stack.length > 1) stack.pop();
  else return false;
  await load(by < 0);
  return true;
}

async function finish() {
  if (await call("api/finish", {})) {
    document.querySelectorAll("button, input, select").forEach((one) => { one.disabled = true; });
    say("Finished. What was decided is in review.jsonl and in the manifest; this page can be closed.");
  }
}

const KEYS = {
  j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1),
  a: () => decide("accepted"), r: () => decide("rejected"), u: undo, n: () => turn(1), p: () => turn(-1),
};
// One key after the other: a decision is on the disk before the next key counts.
let queue = Promise.resolve();
document.addEventListener("keydown", (event) => {
  const work = KEYS[event.key];
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
  if (!work || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  queue = queue.then(work);
});
$("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  stack = [null];
  document.activeElement.blur();
  load();
});
for (const id of ["class", "decision", "score"]) {
  $(id).addEventListener("change", () => $("filters").requestSubmit());
}
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("finish").addEventListener("click", finish);

async function begin() {
  summary = await call("api/summary");
  if (!summary) return;
  document.title = `Review of ${summary.folder}`;
  $("folder").textContent = summary.folder;
  $("class").append(element("option", "all classes", { value: "" }));
  summary.classes.forEach((one, number) => $("class").append(element("option", one.name, { value: number })));
  summary.scores.forEach((name) => $("score").append(element("option", name, { value: name })));
  showCounts(summary.counts);
  await load();
}
begin();
