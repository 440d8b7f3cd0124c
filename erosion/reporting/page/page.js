"use strict";
(() => {
  const read = (element) => element.textContent;
  const dark = JSON.parse(read(document.getElementById("dark")));
  const wants = window.matchMedia("(prefers-color-scheme: dark)");
  const charts = [...document.querySelectorAll(".chart")].map((box) => {
    const script = box.querySelector("script");
    const target = document.createElement("div");
    box.append(target);
    return { target, text: read(script) };
  });
  const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };

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

  const draw = (isDark, width) => {
    for (const { target, text } of charts) {
      const { data, layout } = spec(text, isDark);
      if ((width || target.clientWidth) < 520) narrowed(layout);
      if (width) layout.width = width;
      window.Plotly.react(target, data, layout, config);
    }
  };

  const begin = () => {
    draw(wants.matches);
    wants.addEventListener("change", () => draw(wants.matches));
    window.addEventListener("beforeprint", () => draw(false, 680));
    window.addEventListener("afterprint", () => draw(wants.matches));
  };

  const sorry = (why) => {
    for (const { target } of charts) target.textContent = `The picture cannot be drawn (${why}); the table holds the same numbers.`;
  };

  const packed = document.getElementById("packed");
  if (!packed) {
    begin();
  } else if (typeof DecompressionStream === "undefined") {
    sorry("this browser is older than 2023");
  } else {
    const bytes = Uint8Array.from(atob(read(packed)), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    new Response(stream).text().then((source) => {
      const script = document.createElement("script");
      script.textContent = source;
      document.head.append(script);
      begin();
    }).catch((error) => sorry(error.message));
  }
})();
