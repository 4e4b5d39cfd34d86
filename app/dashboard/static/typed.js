// What is typed while a part of a form is read again from the service stays: the answer knows the form as it was asked.
(() => {
  "use strict";

  const asked = new WeakMap();
  // One request for a part at a time: an answer must not take the place of a newer one. A choice that is made meanwhile
  // is asked for when the answer is there.
  const busy = new Set();

  function values(part) {
    const fields = part.querySelectorAll("input[name]:not([type=hidden]), select[name], textarea[name]");
    return new Map([...fields].map((field) => [field.name, field.value]));
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (busy.has(event.detail.target)) event.preventDefault();
  });

  document.addEventListener("htmx:beforeSend", (event) => {
    const { elt, target, xhr } = event.detail;
    if (!target.closest("form")) return;
    busy.add(target);
    // Taking a part away gives those after it other names, and what was typed there would land elsewhere.
    const renames = elt.name === "action" && !elt.value.startsWith("add");
    if (!renames) asked.set(xhr, { before: values(target) });
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const state = asked.get(event.detail.xhr);
    if (!state) return;
    state.typed = [...values(event.detail.target)].filter(([name, value]) => state.before.get(name) !== value);
  });

  document.addEventListener("htmx:beforeOnLoad", (event) => busy.delete(event.detail.target));
  document.addEventListener("htmx:sendError", (event) => busy.delete(event.detail.target));

  document.addEventListener("htmx:afterSettle", (event) => {
    for (const [name, value] of asked.get(event.detail.xhr)?.typed ?? []) {
      const field = document.querySelector(`#${event.detail.target.id} [name="${CSS.escape(name)}"]`);
      if (field && field.value !== value) {
        field.value = value;
        // A choice may bring other fields with it, so it is asked again.
        field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
      }
    }
  });
})();
