// What pages do besides being read: keep themselves fresh, and draw graphs. Each page
// is whole without it.
"use strict";
(() => {
  const lang = document.documentElement.lang;
  const offline = document.getElementById("offline");

  // Filters apply when they are changed; the button is for who has no scripts.
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.querySelector("button").hidden = true;
    form.addEventListener("change", () => form.requestSubmit());
  }

  // A page that nobody looks at asks for nothing, and catches up when it is looked at.
  const on = (name, f) => document.body.addEventListener(name, f);
  on("htmx:beforeRequest", (e) => { if (document.hidden) e.preventDefault(); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) document.body.dispatchEvent(new CustomEvent("wake"));
  });
  on("htmx:afterRequest", (e) => { offline.hidden = e.detail.successful; });

  // What is opened or closed stays so, and a text that is being selected is left alone.
  let opened = new Map();
  on("htmx:beforeSwap", (e) => {
    const selected = document.getSelection();
    if (selected && !selected.isCollapsed) e.detail.shouldSwap = false;
    opened = new Map([...document.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
  });
  const restore = () => {
    for (const d of document.querySelectorAll("details[id]")) if (opened.has(d.id)) d.open = opened.get(d.id);
    const status = document.getElementById("queue-status");
    const fresh = document.querySelector("#queue[data-status]");
    // Only a change is read out.
    if (status && fresh && status.textContent !== fresh.dataset.status) status.textContent = fresh.dataset.status;
  };
  on("htmx:afterSwap", restore);
  on("htmx:oobAfterSwap", restore);

  // Numbers with their units, as the server writes them.
  const digits = new Intl.NumberFormat(lang, { maximumSignificantDigits: 3 });
  const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  function format(value, unit, type) {
    if (value === null || value === undefined) return "–";
    const per = type === "counter" ? "/s" : "";
    switch (unit) {
      case "bytes": {
        let i = 0;
        while (Math.abs(value) >= 1024 && i < binary.length - 1) { value /= 1024; i++; }
        return `${digits.format(value)} ${binary[i]}${per}`;
      }
      case "ratio": return `${digits.format(100 * value)} %`;
      case "seconds":
        if (type === "counter") return `${digits.format(100 * value)} %`; // seconds per second
        if (value !== 0 && Math.abs(value) < 0.001) return `${digits.format(value * 1e6)} µs`;
        if (value !== 0 && Math.abs(value) < 1) return `${digits.format(value * 1e3)} ms`;
        if (Math.abs(value) < 7200) return `${digits.format(value)} s`;
        return Math.abs(value) < 172800 ? `${digits.format(value / 3600)} h` : `${digits.format(value / 86400)} d`;
      case "celsius": return `${digits.format(value)} °C`;
      case "boolean": case "info": case "": return digits.format(value);
      default: return `${digits.format(value)} ${unit}${per}`;
    }
  }

  const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const seconds = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const date = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
  const whole = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
  function tick(t, step) {
    const at = new Date(t * 1000);
    if (step >= 86400 || (at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0)) return date.format(at);
    return (step < 60 ? seconds : clock).format(at);
  }

  // A query as Prometheus answers it. JSON and PromQL write strings alike.
  function query(graph, figure, step) {
    const q = JSON.stringify;
    const of = `${figure.metric}{customer=${q(graph.customer)},host=${q(graph.host)},check=${q(graph.check)}}`;
    if (figure.type === "counter") return `rate(${of}[${Math.max(300, 4 * step)}s])`;
    return step > 60 ? `avg_over_time(${of}[${Math.max(300, step)}s])` : of;
  }

  const common = new Set(["__name__", "customer", "site", "host", "check"]);
  const maxLines = 16;

  // Series become one table of times and values, as uPlot wants it. Each step has its
  // row, so that a gap stays one.
  function table(result, from, to, step) {
    const lines = result.slice(0, maxLines).map((s) => ({
      label: Object.entries(s.metric).filter(([k]) => !common.has(k)).map(([, v]) => v).join(" "),
      values: new Map(s.values.map(([t, v]) => [t, Number.parseFloat(v)])),
    }));
    lines.sort((a, b) => a.label.localeCompare(b.label));
    const times = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
    const columns = lines.map((l) => times.map((t) => {
      const v = l.values.get(t);
      return v === undefined || !Number.isFinite(v) ? null : v;
    }));
    return { labels: lines.map((l) => l.label), data: [times, ...columns] };
  }

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const powers = Array.from({ length: 60 }, (_, i) => 2 ** i);

  function options(graph, figure, labels, width) {
    const muted = css("--muted"), line = css("--line");
    const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui, sans-serif" };
    const show = (v) => format(v, figure.unit, figure.type);
    const low = figure.unit === "celsius" ? (min) => min - 2 : (min) => Math.min(0, min);
    return {
      width, height: 170, cursor: { y: false }, legend: { live: true },
      scales: {
        x: {},
        y: { range: (_, min, max) => (min === null ? [0, 1] : [low(min), max === low(min) ? low(min) + 1 : max + (max - low(min)) * 0.06]) },
      },
      axes: [
        { ...axis, space: 70, values: (_, splits, __, ___, step) => splits.map((t) => tick(t, step)) },
        { ...axis, size: 74, space: 26, values: (_, splits) => splits.map(show), ...(figure.unit === "bytes" ? { incrs: powers } : {}) },
      ],
      series: [
        { label: graph.timeLabel, value: (_, t) => (t === null ? "–" : whole.format(new Date(t * 1000))) },
        ...labels.map((label, i) => ({
          label: label || figure.label, stroke: css(`--c${(i % 8) + 1}`), width: 1.5, dash: i >= 8 ? [5, 3] : undefined,
          points: { size: 4 }, value: (_, v) => show(v),
        })),
      ],
    };
  }

  class Graph {
    constructor(box) {
      this.box = box;
      Object.assign(this, { customer: box.dataset.customer, host: box.dataset.host, check: box.dataset.check, timeLabel: box.dataset.time });
      this.figures = JSON.parse(box.dataset.graph);
      this.pick = box.querySelector("select");
      this.place = box.querySelector(".plot");
      this.span = Number(box.dataset.seconds);
      box.hidden = false;
      this.pick.closest("label").hidden = this.figures.length < 2;
      this.pick.addEventListener("change", () => this.load());
      this.place.addEventListener("dblclick", () => { this.zoomed = null; }, true);
      new ResizeObserver(() => this.plot?.setSize({ width: this.place.clientWidth, height: 170 })).observe(this.place);
    }

    async load() {
      const figure = this.figures.find((f) => f.metric === this.pick.value) ?? this.figures[0];
      const to = Math.floor(Date.now() / 1000);
      const step = Math.max(5, Math.ceil(this.span / Math.max(120, Math.min(600, this.place.clientWidth / 2))));
      const parameters = new URLSearchParams({ query: query(this, figure, step), start: to - this.span, end: to, step });
      let answer;
      try {
        const response = await fetch(`/api/v1/query_range?${parameters}`, { headers: { "Wacht-Poll": "1" } });
        if (!response.ok) throw new Error(response.statusText);
        answer = await response.json();
      } catch {
        if (!this.plot) this.say(this.box.dataset.failed);
        return;
      }
      const { labels, data } = table(answer.data.result, to - this.span, to, step);
      if (labels.length === 0) { this.say(this.box.dataset.nodata); return; }
      this.show(figure, labels, data, to);
    }

    show(figure, labels, data, to) {
      const key = JSON.stringify([figure.metric, labels, matchMedia("(prefers-color-scheme: dark)").matches]);
      this.to = to;
      if (this.plot && this.key === key) { this.plot.setData(data); return; }
      this.say("");
      this.key = key;
      const o = options(this, figure, labels, this.place.clientWidth);
      // The whole span is shown, also where nothing was measured, until somebody zooms in.
      this.zoomed = null;
      o.scales.x.range = () => this.zoomed ?? [this.to - this.span, this.to];
      o.hooks = { setSelect: [(u) => {
        if (u.select.width > 0) this.zoomed = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
      }] };
      this.plot = new uPlot(o, data, this.place);
    }

    say(text) {
      this.plot?.destroy();
      this.plot = this.key = null;
      this.place.replaceChildren();
      if (!text) return;
      const p = document.createElement("p");
      p.className = "nodata";
      p.textContent = text;
      this.place.append(p);
    }
  }

  // Graphs are drawn when they come into sight, and refreshed while they are.
  const inSight = new Set();
  const graphs = new Map();
  const watcher = new IntersectionObserver((entries) => {
    for (const e of entries) {
      const graph = graphs.get(e.target);
      if (!e.isIntersecting) { inSight.delete(graph); continue; }
      inSight.add(graph);
      if (!graph.plot) graph.load();
    }
  }, { rootMargin: "200px" });
  if (window.uPlot) {
    for (const box of document.querySelectorAll("[data-graph]")) {
      graphs.set(box, new Graph(box));
      watcher.observe(box);
    }
    setInterval(() => { if (!document.hidden) for (const g of inSight) g.load(); }, 15000);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const g of graphs.values()) if (g.plot) g.load(); });
  }
})();
