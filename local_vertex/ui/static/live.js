// Keeps a page current: fetches it again and replaces the parts (elements of main with an id) that differ.
"use strict";

const HIDDEN_PAUSE = 5000;

function replacePart(shown, fresh) {
  const before = shown.querySelector("#log");
  const atEnd = before && before.scrollTop + before.clientHeight >= before.scrollHeight - 8;
  const open = [...shown.querySelectorAll("details")].map((each) => each.open);
  const left = shown.scrollLeft;
  const focused = shown.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  fresh.querySelectorAll("details").forEach((each, place) => { each.open = Boolean(open[place]); });
  shown.replaceWith(fresh);
  fresh.scrollLeft = left;
  const after = fresh.querySelector("#log");
  if (before && after) after.scrollTop = atEnd ? after.scrollHeight : before.scrollTop;
  if (focused) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
}

function withoutOpen(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("details").forEach((each) => each.removeAttribute("open"));
  return copy.outerHTML;
}

async function refresh() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  const main = document.querySelector("main");
  main.dataset.poll = fresh.dataset.poll;
  for (const part of fresh.querySelectorAll(":scope > [id], :scope > .run > [id]")) {
    const shown = document.getElementById(part.id);
    if (shown && withoutOpen(shown) !== withoutOpen(part)) replacePart(shown, part);
  }
}

async function loop() {
  const pause = Number(document.querySelector("main").dataset.poll);
  if (!pause) return;
  await new Promise((resolve) => setTimeout(resolve, document.hidden ? HIDDEN_PAUSE : pause));
  try {
    await refresh();
    document.getElementById("offline").hidden = true;
  } catch {
    document.getElementById("offline").hidden = false;
  }
  loop();
}

const log = document.getElementById("log");
if (log) log.scrollTop = log.scrollHeight;
loop();
