// Charts: every <div class="chart" data-src> is drawn with uPlot, and told once more as a table for who cannot see it.
(() => {
  "use strict";

  const drawn = new WeakMap();
  const REDRAW_MS = 1000;
  const SHORTEST_DAY_SECONDS = 23 * 3600; // when clocks go forward
  const WHOLE_STEPS = Array.from({ length: 16 }, (_, zeros) => [1, 2, 5].map((one) => one * 10 ** zeros)).flat();

  // A canvas wants the color itself, as the theme of the moment has it, and not the name of it.
  const probe = document.createElement("span");

  function color(name) {
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  const faint = (rgb) => rgb.replace(")", " / 13%)").replaceAll(",", "");

  function series(one, index, kind) {
    const stroke = color(`--series-${index % 6 + 1}`);
    const bars = kind === "bar";
    return {
      label: one.label,
      stroke,
      width: bars ? 0 : 2,
      fill: bars ? stroke : index === 0 ? faint(stroke) : undefined,
      paths: bars ? uPlot.paths.bars({ size: [0.7, 64], radius: 0.15 }) : undefined,
      points: { show: kind !== "bar" && one.values.length < 3 },
      value: (_, value) => value == null ? "–" : taximeter.number(value) + (one.unit ? ` ${one.unit}` : ""),
    };
  }

  // The day where it changes, else the time of day, as exact as the ticks are.
  function instants(ticks, step) {
    return ticks.map((tick) => {
      const at = new Date(tick * 1000);
      if (step >= 86400 || (at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0)) {
        return at.toLocaleDateString("en-GB", step >= 28 * 86400 ? { month: "short", year: "numeric" } : { day: "numeric", month: "short" });
      }
      return at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
    });
  }

  // A bucket of a day is told by its date: its hour would only say where the day begins.
  function timing(data) {
    const days = data.x.length > 1 && data.x[1] - data.x[0] >= SHORTEST_DAY_SECONDS;
    return (seconds) => {
      const at = new Date(seconds * 1000);
      const midnight = at.getHours() === 0 && at.getMinutes() === 0;
      return at.toLocaleString("en-GB", { dateStyle: "medium", ...(days && midnight ? {} : { timeStyle: "short" }) });
    };
  }

  // Half a bar of room at both ends, so that the first and the last one are whole.
  function room(data) {
    const [first, last] = [data.x[0], data.x.at(-1)];
    const step = data.x.length > 1 ? (last - first) / (data.x.length - 1) : 3600;
    return data.kind === "bar" || data.x.length === 1 ? [first - step / 2, last + step / 2] : [first, last];
  }

  function options(element, data) {
    const filled = data.x.findLastIndex((_, index) => data.series.some((one) => Number(one.values[index] ?? 0) !== 0));
    const last = filled < 0 ? null : filled;
    const whole = data.series.every((one) => one.values.every((value) => Number.isInteger(Number(value ?? 0))));
    const told = timing(data);
    const axis = {
      stroke: color("--muted"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
    };
    const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
    return {
      width: element.clientWidth || 300,
      height: Number(element.dataset.height) || 240,
      cursor: { points: { size: 6 }, y: false, drag: { x: false, y: false } },
      // Without a cursor the legend tells the newest values that are not zero.
      hooks: {
        ready: [(plot) => plot.setLegend({ idx: last })],
        setCursor: [(plot) => { if (plot.cursor.idx == null) plot.setLegend({ idx: last }, false); }],
      },
      scales: { x: { range: () => room(data) }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.1 : low < 0 ? 0 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, space: 70, values: (_, ticks, __, ___, step) => instants(ticks, step) },
        { ...axis, size: 56, ...(whole ? { incrs: WHOLE_STEPS } : {}), values: (_, ticks) => ticks.map((tick) => short.format(tick)) },
      ],
      series: [
        { label: "Time", value: (_, at) => at == null ? "–" : told(at) },
        ...data.series.map((one, index) => series(one, index, data.kind)),
      ],
    };
  }

  function table(element, data) {
    const told = document.createElement("table");
    told.className = "visually-hidden";
    const caption = told.createCaption();
    caption.textContent = element.dataset.label;
    const head = told.createTHead().insertRow();
    for (const text of ["Time", ...data.series.map((one) => one.unit ? `${one.label} (${one.unit})` : one.label)]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = text;
      head.append(cell);
    }
    const body = told.createTBody();
    const time = timing(data);
    data.x.forEach((at, index) => {
      const row = body.insertRow();
      row.insertCell().textContent = time(at);
      for (const one of data.series) row.insertCell().textContent = one.values[index] ?? "none";
    });
    return told;
  }

  function draw(element, data) {
    const state = drawn.get(element);
    state.data = data;
    state.plot?.destroy();
    element.replaceChildren();
    const empty = !data.x.length || !data.series.length;
    element.classList.toggle("blank", empty);
    if (empty) {
      state.plot = null;
      element.textContent = "Nothing to draw yet";
      return;
    }
    const picture = document.createElement("div");
    picture.setAttribute("aria-hidden", "true");
    element.append(picture, table(element, data));
    // Pixels need no more digits than a float has; the table and the legend's source keep them all.
    const columns = [data.x, ...data.series.map((one) => one.values.map((value) => value == null ? null : Number(value)))];
    state.plot = new uPlot(options(element, data), columns, picture);
  }

  async function load(element) {
    const state = drawn.get(element);
    if (state.busy) { state.again = true; return; }
    state.busy = true;
    state.again = false;
    try {
      const answer = await fetch(element.dataset.src, { headers: { Accept: "application/json" } });
      if (answer.status === 401) { location.reload(); return; }
      const text = answer.ok ? await answer.text() : "";
      if (answer.ok && element.isConnected) {
        // What is drawn already stays under the reader's pointer.
        if (text !== state.text) { draw(element, JSON.parse(text)); state.text = text; }
      } else if (!state.data) element.textContent = "The chart could not be loaded.";
    } catch {
      // The network is gone; what is drawn stays, and the next redraw asks again.
      if (!state.data) element.textContent = "The chart could not be loaded.";
    } finally {
      state.busy = false;
    }
    if (state.again) soon(element);
  }

  function soon(element) {
    const state = drawn.get(element);
    state.timer ??= setTimeout(() => { state.timer = null; if (element.isConnected) load(element); }, REDRAW_MS);
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = drawn.get(target)?.plot;
      if (plot && target.clientWidth && plot.width !== target.clientWidth) {
        plot.setSize({ width: target.clientWidth, height: plot.height });
      }
    }
  });
  const sources = new MutationObserver((changes) => changes.forEach(({ target }) => load(target)));

  function begin(within) {
    for (const element of within.querySelectorAll(".chart[data-src]")) {
      if (drawn.has(element)) continue;
      drawn.set(element, {});
      element.addEventListener("taximeter:redraw", () => soon(element));
      sizes.observe(element);
      sources.observe(element, { attributeFilter: ["data-src"] });
      load(element);
      const seconds = /\bevery (\d+)$/.exec(element.dataset.redraw ?? "");
      if (seconds) repeat(element, Number(seconds[1]) * 1000);
    }
  }

  function repeat(element, milliseconds) {
    const timer = setInterval(() => {
      if (!element.isConnected) clearInterval(timer);
      else if (!document.hidden) load(element);
    }, milliseconds);
  }

  const charts = () => document.querySelectorAll(".chart[data-src]");
  document.addEventListener("taximeter:theme", () => {
    for (const element of charts()) { const state = drawn.get(element); if (state?.data) draw(element, state.data); }
  });
  document.addEventListener("taximeter:update", () => {
    for (const element of charts()) if (element.dataset.redraw?.startsWith("update")) soon(element);
  });
  document.addEventListener("htmx:load", (event) => begin(event.target.parentElement ?? document));
  begin(document);
})();
