// Reads the page again every five seconds and swaps its main part in place. Waits while the page is hidden, text is
// selected, or a field or opened detail is in use. Everything works without it.
"use strict";

const EVERY_MS = 5000;
const KEY = "fiso-console-refresh";
const box = document.getElementById("refresh");
const mode = document.body.dataset.refresh; // "on" or "off" to begin with, or "never"

function remembered() {
  try {
    return window.localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(value) {
  try {
    window.localStorage.setItem(KEY, value);
  } catch {
    // A browser that keeps nothing still refreshes.
  }
}

function isInUse() {
  const main = document.getElementById("main");
  const selected = String(window.getSelection()) !== "";
  return document.hidden || selected || main.querySelector("select:focus, details[open]") !== null;
}

function swap(fresh) {
  const stale = document.getElementById("main");
  const offsets = Array.from(stale.querySelectorAll(".scroll"), (part) => part.scrollLeft);
  stale.replaceWith(fresh);
  fresh.querySelectorAll(".scroll").forEach((part, index) => {
    part.scrollLeft = offsets[index] ?? 0;
  });
}

async function refresh() {
  if (!box.checked || isInUse()) return;
  try {
    const answer = await fetch(window.location.href, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (fresh && box.checked && !isInUse()) swap(document.adoptNode(fresh));
  } catch {
    // The next round tries again; what is shown says when it was read.
  }
}

if (mode !== "never") {
  box.checked = (remembered() ?? mode) === "on";
  box.parentElement.hidden = false;
  box.addEventListener("change", () => remember(box.checked ? "on" : "off"));
  window.setInterval(refresh, EVERY_MS);
}
