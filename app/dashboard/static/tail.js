// The tail of events: pause it, and keep it from growing for ever.
"use strict";

(() => {
  const ROWS_MAX = 200; // Four pages: what is further down is reached by "Older".
  const table = document.getElementById("tail");
  const button = document.getElementById("tail-pause");
  if (!table || !button) return;

  const paused = () => button.getAttribute("aria-pressed") === "true";

  button.addEventListener("click", () => {
    const now = !paused();
    button.setAttribute("aria-pressed", String(now));
    button.textContent = now ? "Resume" : "Pause";
    if (!now) poll();
  });

  const poll = () => {
    const row = document.getElementById("tail-poll");
    if (row) window.htmx.ajax("GET", row.getAttribute("hx-get"), { source: row, target: row, swap: "outerHTML" });
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.id === "tail-poll" && (paused() || document.hidden)) event.preventDefault();
  });

  document.addEventListener("htmx:afterSettle", () => {
    const rows = table.tBodies[0].rows;
    while (rows.length > ROWS_MAX) rows[rows.length - 1].remove();
    if (rows.length <= 1) return; // Only the row that polls.
    table.closest(".table-box").hidden = false;
    document.querySelector(".empty")?.remove();
    document.getElementById("tail-none")?.remove();
  });
})();
