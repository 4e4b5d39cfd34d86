// What every page needs: theme, menu, copying, times in the reader's zone, sparklines. No page depends on it to be read.
(() => {
  "use strict";

  const root = document.documentElement;

  // Theme: the system's, until somebody chooses.
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  function showTheme() {
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.setAttribute("aria-pressed", String(isDark()));
    }
    document.dispatchEvent(new Event("taximeter:theme"));
  }

  function toggleTheme() {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("taximeter-theme", root.dataset.theme);
    } catch {
      // Storage is switched off: the choice holds for this page.
    }
    showTheme();
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);

  function toggleMenu(button) {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    document.getElementById(button.getAttribute("aria-controls")).classList.toggle("open", open);
  }

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Without https there is no clipboard: select it, so that one key copies it.
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-theme-toggle]")) toggleTheme();
    else if (button.matches(".menu-button")) toggleMenu(button);
    else if (button.matches("[data-copy]")) copy(button);
    else if (button.matches("[data-dismiss]")) button.parentElement.remove();
  });

  // Times.
  const DATE = { year: "numeric", month: "short", day: "numeric" };
  const FORMS = {
    date: DATE,
    datetime: { ...DATE, hour: "2-digit", minute: "2-digit" },
    seconds: { ...DATE, hour: "2-digit", minute: "2-digit", second: "2-digit" },
  };
  const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

  function ago(at) {
    const seconds = Math.round((at - Date.now()) / 1000);
    const [unit, size] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? STEPS[3];
    return relative.format(Math.trunc(seconds / size), unit);
  }

  function showTimes(within) {
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const form = time.dataset.form;
      time.textContent = form === "relative" ? ago(at) : at.toLocaleString("en-GB", FORMS[form] ?? FORMS.datetime);
    }
  }

  setInterval(() => {
    for (const time of document.querySelectorAll('time[data-form="relative"]')) time.textContent = ago(new Date(time.dateTime));
  }, 10_000);

  // Sparklines: one path, drawn once; the label says what it shows.
  const SVG = "http://www.w3.org/2000/svg";

  function drawSpark(element) {
    const points = JSON.parse(element.dataset.points).map(Number);
    const [width, height] = [120, 28];
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    if (points.length > 1) {
      const low = Math.min(0, ...points);
      const span = Math.max(...points) - low || 1;
      const at = points.map((value, index) =>
        `${(index * width / (points.length - 1)).toFixed(1)},${(height - 2 - (value - low) / span * (height - 4)).toFixed(1)}`);
      const area = document.createElementNS(SVG, "polygon");
      area.setAttribute("points", `0,${height} ${at.join(" ")} ${width},${height}`);
      const line = document.createElementNS(SVG, "polyline");
      line.setAttribute("points", at.join(" "));
      svg.append(area, line);
    }
    element.replaceChildren(svg);
  }

  // Numbers and money as the templates write them.
  const unusual = document.querySelector('meta[name="taximeter-currency-places"]');
  const places = unusual ? JSON.parse(unusual.content) : {};

  function number(text) {
    const [, sign, whole, rest] = /^(-?)(\d+)(.*)$/.exec(String(text)) ?? [];
    return whole === undefined ? String(text) : sign + whole.replace(/\B(?=(\d{3})+$)/g, ",") + rest;
  }

  function money(minor, currency) {
    const decimals = places[currency] ?? 2;
    const digits = String(Math.abs(minor)).padStart(decimals + 1, "0");
    const whole = digits.slice(0, digits.length - decimals);
    const fraction = decimals ? "." + digits.slice(-decimals) : "";
    return `${minor < 0 ? "-" : ""}${number(whole)}${fraction} ${currency}`;
  }

  function enliven(within) {
    showTimes(within);
    for (const element of within.querySelectorAll(".spark[data-points]")) drawSpark(element);
  }

  // Parts that are asked for again and again (data-calm): not while nobody looks, not under somebody's hands, and only
  // when they changed.
  const shown = new WeakMap();
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.matches("[data-calm]")) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, serverResponse, xhr } = event.detail;
    if (xhr.status !== 200 || !target.matches("[data-calm]")) return;
    const selecting = !getSelection().isCollapsed && target.contains(getSelection().anchorNode);
    if (selecting || target.contains(document.activeElement) || shown.get(target) === serverResponse) {
      event.detail.shouldSwap = false;
    } else {
      shown.set(target, serverResponse);
    }
  });

  window.taximeter = { number, money, enliven };
  showTheme();
  enliven(document);
  // What htmx puts in place is a part of the page like any other.
  document.addEventListener("htmx:load", (event) => enliven(event.target.parentElement ?? document));
})();
