"use strict";
(() => {
  const root = document.documentElement;
  document.querySelectorAll(".needs-script").forEach((node) => { node.hidden = false; });

  // Theme: the system's until the reader chooses.
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  system.addEventListener("change", name);
  name();

  // Tabs of the gallery; without this script all panels are shown below each other.
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const choose = (chosen) => tabs.forEach((tab) => {
    const on = tab === chosen;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
  });
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(at + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });
  if (tabs.length) {
    document.getElementById("gallery").classList.add("tabbed");
    choose(tabs[0]);
  }

  // Lineage of a clicked image.
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const lineages = read("lineages");
  const panel = document.getElementById("panel");
  const part = (id) => document.getElementById("panel-" + id);
  const pieces = /("(?:\\.|[^"\\])*"(?=\s*:))|("(?:\\.|[^"\\])*")|(-?\d[\d.e+-]*|true|false|null)/g;
  const paint = (text) => {
    const out = document.createDocumentFragment();
    let last = 0;
    for (const match of text.matchAll(pieces)) {
      out.append(text.slice(last, match.index));
      const span = document.createElement("span");
      span.className = match[1] ? "j-key" : match[2] ? "j-text" : "j-number";
      span.textContent = match[0];
      out.append(span);
      last = match.index + match[0].length;
    }
    out.append(text.slice(last));
    return out;
  };
  const show = (made) => {
    const entry = lineages[made.dataset.lineage];
    const image = made.querySelector("img");
    part("picture").src = image ? image.src : "";
    part("picture").alt = image ? image.alt : "";
    part("title").textContent = entry.title;
    part("prompt").textContent = entry.prompt;
    part("original").hidden = !entry.original;
    if (entry.original) part("original").href = entry.original;
    part("again").replaceChildren(...entry.again.map((text) => {
      const line = document.createElement("li");
      const isCommand = text.startsWith("variegate ");
      const words = isCommand ? line.appendChild(document.createElement("code")) : line;
      words.textContent = text;
      return line;
    }));
    const parents = made.closest(".pair").querySelectorAll(".parents img");
    part("parents").replaceChildren(...[...parents].map((parent) => parent.cloneNode()));
    part("json").replaceChildren(paint(entry.record));
    panel.showModal();
    panel.scrollTop = 0;
  };
  document.querySelectorAll(".made").forEach((made) => {
    made.addEventListener("click", () => show(made));
  });
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  part("copy").addEventListener("click", async () => {
    const text = part("json").textContent;
    try {
      await navigator.clipboard.writeText(text);
      part("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(part("json"));
      part("copy").textContent = "Selected";
    }
    setTimeout(() => { part("copy").textContent = "Copy"; }, 1500);
  });
})();
