// One socket per page to /live: it subscribes for what the page shows, and puts new values in place.
(() => {
  "use strict";

  const FIRST_WAIT_MS = 500;
  const LONGEST_WAIT_MS = 15_000;
  // The service sends a heartbeat every 15 s: a socket silent for longer is dead, though nobody said so.
  const SILENCE_MS = 40_000;

  const MOVED_MS = 1000;

  const status = document.getElementById("live-status");
  const WORDS = { connecting: "connecting", live: "live", lost: "reconnecting" };

  const wanted = new Map(); // subscription id -> { body, position }
  const currencies = new Map(); // of subscriptions, as their estimates tell
  const values = new Map(); // what was last told, by the key of its elements
  let socket = null;
  let wait = FIRST_WAIT_MS;
  let timer = null;
  let silence = null;

  function show(state) {
    status.dataset.state = state;
    status.hidden = state === "off";
    status.querySelector(".words").textContent = WORDS[state] ?? "";
  }

  // What the page asks for.
  function targets() {
    const found = new Map();
    for (const element of document.querySelectorAll("[data-live-customer]")) {
      const id = element.dataset.liveCustomer;
      if (id) found.set(`customer:${id}`, { customer_id: id });
    }
    if (document.querySelector("[data-live-tenant]")) found.set("tenant", { tenant: true });
    return found;
  }

  function subscribe(id) {
    const { body, position } = wanted.get(id);
    send({ type: "subscribe", id, ...body, ...(position ? { after: position } : {}) });
  }

  function send(frame) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  }

  function follow() {
    const found = targets();
    for (const id of [...wanted.keys()]) {
      if (found.has(id)) continue;
      wanted.delete(id);
      send({ type: "unsubscribe", id });
    }
    for (const [id, body] of found) {
      if (wanted.has(id)) continue;
      wanted.set(id, { body, position: 0 });
      if (socket?.readyState === WebSocket.OPEN) subscribe(id);
    }
    if (wanted.size && !socket && !timer) connect();
  }

  // The socket.
  function connect() {
    timer = null;
    show(wait === FIRST_WAIT_MS ? "connecting" : "lost");
    const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket = opened;
    opened.onopen = () => {
      wait = FIRST_WAIT_MS;
      show("live");
      heard();
      for (const id of wanted.keys()) subscribe(id);
    };
    opened.onmessage = (event) => { heard(); take(JSON.parse(event.data)); };
    opened.onclose = (event) => lost(opened, event.code);
  }

  function heard() {
    clearTimeout(silence);
    silence = setTimeout(() => { const dead = socket; dead?.close(); lost(dead, 0); }, SILENCE_MS);
  }

  function lost(closed, code) {
    if (closed !== socket) return; // an older one that was given up already
    socket = null;
    clearTimeout(silence);
    if (code === 4401) { location.reload(); return; } // signed out: the page leads to the sign-in
    show("lost");
    // Many browsers must not come back in the same instant.
    timer = setTimeout(connect, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }

  addEventListener("online", () => { if (timer) { clearTimeout(timer); connect(); } });

  // Live values are ahead of what is counted by a moment: what is read anew should be as new as what was seen.
  let seen = 0;
  document.addEventListener("htmx:configRequest", (event) => {
    if (seen) event.detail.headers["Taximeter-Seen"] = String(seen);
  });

  // Frames.
  function take(frame) {
    const subscription = wanted.get(frame.id);
    if (frame.type === "snapshot" || frame.type === "update") {
      if (!subscription) return;
      seen = Math.max(seen, frame.position);
      if (frame.position > subscription.position) subscription.position = frame.position;
      for (const cycle of frame.subscriptions) takeCycle(cycle, frame.position);
      put("[data-live-position]", frame.position, () => taximeter.number(frame.position));
      document.dispatchEvent(new CustomEvent("taximeter:update", { detail: frame }));
      moved();
    } else if (frame.type === "alert") {
      announce(frame.firing);
      document.dispatchEvent(new CustomEvent("taximeter:alert", { detail: frame }));
    } else if (frame.type === "heartbeat") {
      // Everything up to here was sent: a reconnect asks for what came later.
      for (const one of wanted.values()) one.position = Math.max(one.position, frame.position);
    } else if (frame.type === "error" && subscription?.position) {
      // It does not know the position that we have seen: begin anew.
      subscription.position = 0;
      subscribe(frame.id);
    }
  }

  // For what is read anew from the service: at once, then once a second at most, and always once after the last update.
  let resting = false;
  let again = false;
  function moved() {
    if (resting) { again = true; return; }
    document.dispatchEvent(new Event("taximeter:changed"));
    resting = true;
    setTimeout(() => { resting = false; if (again) { again = false; moved(); } }, MOVED_MS);
  }

  function takeCycle(cycle, position) {
    const key = `${cycle.subscription_id}/${cycle.cycle_start}`;
    for (const { meter_id: meter, quantity } of cycle.meters) {
      remember("live-quantity", `${key}/${meter}`, { quantity, position });
    }
    currencies.set(cycle.subscription_id, cycle.estimate.currency);
    remember("live-amount", key, { estimate: cycle.estimate, position });
  }

  function remember(name, key, value) {
    const known = values.get(`${name}=${key}`);
    if (known && known.position > value.position) return; // nobody sees a value older than one that was shown
    values.set(`${name}=${key}`, value);
    apply(name, key, value);
  }

  function apply(name, key, value) {
    put(`[data-${name}="${CSS.escape(key)}"]`, value.position, (element) => {
      if (name === "live-quantity") return element.tagName === "PROGRESS" ? value.quantity : taximeter.number(value.quantity);
      const amount = value.estimate[element.dataset.liveAmountOf || "total_amount"];
      return taximeter.money(amount, value.estimate.currency);
    });
  }

  function put(selector, position, text) {
    for (const element of document.querySelectorAll(selector)) {
      if (Number(element.dataset.liveAt || 0) > position) continue;
      element.dataset.liveAt = position;
      const shown = text(element);
      if (element.tagName === "PROGRESS") {
        element.value = Number(shown);
      } else if (element.textContent.trim() !== shown) {
        element.textContent = shown;
        element.classList.remove("flash");
        void element.offsetWidth; // begins the animation anew
        element.classList.add("flash");
      }
    }
  }

  const announced = new Set();

  function reached({ kind, threshold, subscription_id: id }) {
    if (kind === "amount") {
      const currency = currencies.get(id);
      return currency ? taximeter.money(threshold, currency)
        : `${taximeter.number(threshold)} minor units of the subscription's currency`;
    }
    return taximeter.number(threshold) + (kind.endsWith("_percent") ? " %" : "");
  }

  function announce(firing) {
    // Two subscriptions of a page may tell the same one, and so may a new socket.
    if (announced.has(firing.position)) return;
    announced.add(firing.position);
    const text = document.createElement("p");
    text.textContent = `Alert: ${firing.customer_id} has reached ${reached(firing)}`
      + ` (${firing.kind.replaceAll("_", " ")})`;
    const dismiss = document.createElement("button");
    dismiss.type = "button";
    dismiss.className = "button small quiet";
    dismiss.dataset.dismiss = "";
    dismiss.textContent = "Dismiss";
    const toast = document.createElement("div");
    toast.className = "toast";
    toast.append(text, dismiss);
    document.getElementById("alerts").append(toast);
  }

  // What htmx puts in place may be older than what was told already, and may ask for more.
  document.addEventListener("htmx:load", () => {
    for (const [name, value] of values) {
      const at = name.indexOf("=");
      apply(name.slice(0, at), name.slice(at + 1), value);
    }
    follow();
  });

  show("off");
  follow();
})();
