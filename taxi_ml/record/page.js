// Keeps the page of a run current, and opens links to other sites beside Airflow, whose frame allows no windows.
"use strict";

const HIDDEN_PAUSE = 30000;

async function refresh() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  const shown = document.querySelector("main");
  if (fresh.outerHTML !== shown.outerHTML) shown.replaceWith(fresh);
}

async function loop() {
  const pause = 1000 * Number(document.querySelector("main").dataset.poll || 0);
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

function parentDocument() {
  try {
    return parent === self ? null : parent.document;
  } catch {
    return null;
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[target=_blank]");
  const outside = parentDocument();
  if (!link || !outside || !/^https?:/.test(link.href)) return;
  event.preventDefault();
  const copy = outside.createElement("a");
  Object.assign(copy, { href: link.href, target: "_blank", rel: "noopener noreferrer" });
  copy.click();
});

loop();
