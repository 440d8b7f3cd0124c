"use strict";
(() => {
  const read = (id) => document.getElementById(id).textContent;
  const dark = JSON.parse(read("dark"));
  const wants = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
  const charts = [...document.querySelectorAll(".chart")].map((box) => {
    const target = document.createElement("div");
    box.append(target);
    return { box, target, number: Number(box.dataset.chart), drawn: false };
  });
  let texts = [], marked = null;

  const spec = (text, isDark) =>
    JSON.parse(isDark ? text.replace(/"(#[0-9a-f]{6}|rgba\([^"]*\))"/g, (all, colour) => `"${dark[colour] || colour}"`) : text);

  // on a phone the words below an axis need more lines
  const fold = (words) => words.split(" ").reduce((lines, word) => {
    const last = lines[lines.length - 1];
    return last && (last + word).length < 28 ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word];
  }, []);
  const narrowed = (layout) => {
    for (const axis of Object.keys(layout).filter((key) => key.startsWith("xaxis"))) {
      const title = layout[axis].title;
      if (title && title.text) title.text = fold(title.text).join("<br>");
    }
  };

  // the layer that the reader chose, a line through every panel of a figure over layers
  const mark = (layout, isDark) => {
    const layers = layout.meta && layout.meta.layers;
    if (marked === null || !layers || !layers.includes(marked)) return;
    const line = { color: isDark ? "#e6e9ee" : "#1d2430", width: 1.5, dash: "dot" };
    const place = { type: "line", xref: "x", yref: "paper", x0: marked, x1: marked, y0: 0, y1: 1 };
    layout.shapes = [...(layout.shapes || []), { ...place, line, layer: "below" }];
  };

  const draw = (chart, isDark, width) => {
    const { data, layout } = spec(texts[chart.number], isDark);
    if ((width || chart.target.clientWidth) < 520) narrowed(layout);
    if (width) layout.width = width;
    mark(layout, isDark);
    window.Plotly.react(chart.target, data, layout, config);
    if (!chart.drawn && layout.meta && layout.meta.layers) {
      chart.target.on("plotly_click", (event) => choose(Math.round(event.points[0].x)));
      chart.box.classList.add("over-layers");
    }
    chart.drawn = true;
  };
  const redraw = (isDark, width) => charts.filter((one) => one.drawn || width).forEach((one) => draw(one, isDark, width));
  const choose = (layer) => document.dispatchEvent(new CustomEvent("erosion:layer", { detail: layer }));

  const linked = () => {
    const label = document.querySelector("nav .layer");
    if (!label) return;
    const input = label.querySelector("input"), said = label.querySelector("output");
    const layers = input.dataset.layers.split(" ").map(Number);
    label.hidden = false;
    said.textContent = "–";
    input.addEventListener("input", () => choose(layers[Number(input.value)]));
    document.addEventListener("erosion:layer", (event) => {
      if (!layers.includes(event.detail)) return;
      marked = event.detail;
      input.value = layers.indexOf(marked);
      said.textContent = marked;
      for (const one of charts) {
        if (one.drawn && one.box.classList.contains("over-layers")) draw(one, wants.matches);
      }
    });
  };

  // the contents bar says where the reader is
  const followed = () => {
    const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
    const list = document.querySelector("nav ul");
    const spy = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => {
      const link = links.get(one.target.id);
      if (!link) return;
      for (const other of links.values()) other.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      list.scrollTo({ left: link.offsetLeft - list.offsetLeft - 40 });
    }), { rootMargin: "-20% 0px -75% 0px" });
    for (const one of document.querySelectorAll("header, main > section")) spy.observe(one);
  };

  // what is in sight is drawn; the rest when the reader comes near it, or prints
  const begin = ({ charts: specs, views, tables }) => {
    texts = specs;
    for (const box of document.querySelectorAll("[data-tables]")) {
      const filled = () => { box.innerHTML = tables[Number(box.dataset.tables)]; };
      box.closest("details").addEventListener("toggle", filled, { once: true });
    }
    const near = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => {
      near.unobserve(one.target);
      if (one.target.dataset.view) window.erosionTokens(one.target, views[Number(one.target.dataset.view)], marked);
      else draw(charts.find((chart) => chart.box === one.target), wants.matches);
    }), { rootMargin: "800px" });
    for (const box of document.querySelectorAll(".chart, .tokens")) near.observe(box);
    linked();
    followed();
    wants.addEventListener("change", () => redraw(wants.matches));
    window.addEventListener("beforeprint", () => redraw(false, 680));
    window.addEventListener("afterprint", () => redraw(wants.matches));
    document.documentElement.dataset.ready = "yes";
  };

  // base85 as in RFC 1924: five signs hold four bytes
  const unpacked = (text) => {
    const signs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    const worth = new Uint8Array(128);
    for (let i = 0; i < signs.length; i++) worth[signs.charCodeAt(i)] = i;
    const missing = (5 - text.length % 5) % 5, whole = text + "~".repeat(missing);
    const view = new DataView(new ArrayBuffer(whole.length / 5 * 4));
    for (let i = 0, at = 0; i < whole.length; i += 5, at += 4) {
      let value = 0;
      for (let j = 0; j < 5; j++) value = value * 85 + worth[whole.charCodeAt(i + j)];
      view.setUint32(at, value);
    }
    return new Uint8Array(view.buffer, 0, view.byteLength - missing);
  };

  const sorry = (why) => {
    for (const { target } of charts) target.textContent = `The picture cannot be drawn (${why}); the table holds the same numbers.`;
  };

  const packed = document.getElementById("packed");
  if (typeof DecompressionStream === "undefined") {
    sorry("this browser is older than 2023");
  } else {
    const bytes = unpacked(packed.textContent.trim());
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    new Response(stream).json().then(({ libraries, drawn }) => {
      for (const source of libraries) {
        const script = document.createElement("script");
        script.textContent = source;
        document.head.append(script);
      }
      begin(drawn);
    }).catch((error) => sorry(error.message));
  }
})();
