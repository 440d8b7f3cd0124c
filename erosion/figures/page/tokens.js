"use strict";
// Draws token views with circuitsvis; the page that holds it calls window.erosionTokens(box, data).
(() => {
  const make = (tag, said = {}, ...inside) => {
    const one = document.createElement(tag);
    for (const [name, value] of Object.entries(said)) {
      if (name === "text") one.textContent = value; else one.setAttribute(name, value);
    }
    one.append(...inside);
    return one;
  };
  // circuitsvis writes a token as HTML: a mark after < and & keeps both what they are, text
  const literal = (word) => word.replace(/[<&]/g, "$&\u200b");
  const unpack = (packed) => {
    const bytes = Int8Array.from(atob(packed), (one) => one.charCodeAt(0));
    return (row, count, scale) => Array.from(bytes.subarray(row * count, (row + 1) * count),
      (one) => one === -128 ? null : Number((one / 127 * scale).toPrecision(2)));
  };
  let views = 0;

  window.erosionTokens = (box, data, layerNow = null) => {
    const id = `tokens-${views++}`;
    const state = { question: 0, measure: data.measures[0].key, layer: Math.max(data.layers.indexOf(layerNow ?? data.layers[data.first]), 0), prompt: false };
    const option = (value, text) => make("option", { value, text });
    const question = make("select", {}, ...data.shown.map((one, i) => option(i, one.label)));
    const measure = make("select", {}, ...data.measures.map((one) => option(one.key, one.name)));
    const layer = make("input", { type: "range", min: 0, max: data.layers.length - 1, step: 1, value: state.layer });
    const said = make("output");
    const prompt = make("input", { type: "checkbox" });
    const asks = make("div", { class: "asks" },
      make("label", { text: "Question" }, question),
      make("label", { text: "Colour by" }, measure),
      make("label", {}, make("span", {}, "Layer ", said), layer),
      make("label", { class: "check" }, prompt, "with the prompt"));
    const asked = make("p", { class: "asked-of" });
    const key = make("div", { class: "key" });
    const panels = make("div", { class: "panels" });
    const table = make("table");
    const values = make("details", {}, make("summary", { text: "The values as a table" }), make("div", { class: "scroll" }, table));
    const frame = make("div", { class: "frame" }, asks, asked, key, panels, values);
    box.append(frame);

    const measured = () => data.measures.find((one) => one.key === state.measure);
    const read = (answer, model) => {
      const one = measured();
      const words = answer.words;
      if (!one.layered) return { words, values: answer[one.key] };
      const scale = one.scales[state.layer];
      const found = unpack(answer[one.key][model])(state.layer, words.length, scale);
      const shown = data.shown[state.question];
      if (!state.prompt) return { words, values: found };
      const before = unpack(shown.prompt[one.key][model])(state.layer, shown.prompt.words.length, scale);
      return { words: [...shown.prompt.words, ...words], values: [...before, ...found] };
    };
    const mean = (found) => {
      const there = found.filter((one) => one !== null);
      return there.length ? (there.reduce((a, b) => a + b, 0) / there.length).toPrecision(2) : "undefined";
    };
    const panel = (title, answer, model, number, columns) => {
      const one = measured(), found = read(answer, model);
      const most = one.layered ? one.scales[state.layer] : one.scale;
      const target = make("div", { id: `${id}-${number}` });
      const answered = found.values.slice(-answer.words.length);
      panels.append(make("div", { class: "panel" },
        make("h4", { text: title }, make("small", { text: `mean over the answer ${mean(answered)} ${one.unit}` })), target));
      window.CircuitsVis.render(target.id, window.CircuitsVis.ColoredTokens, {
        tokens: found.words.map(literal), values: found.values.map((v) => v === null ? 0 : v),
        minValue: -most, maxValue: most, negativeColor: one.low, positiveColor: one.high,
      });
      columns.push({ title, words: found.words, values: found.values });
    };
    const tabled = (columns) => {
      const head = make("tr", {}, ...columns.flatMap((one) => [make("th", { text: "token", scope: "col" }), make("th", { text: one.title, scope: "col" })]));
      const rows = Array.from({ length: Math.max(...columns.map((one) => one.words.length)) }, (_, i) =>
        make("tr", {}, ...columns.flatMap((one) => [
          make("td", {}, make("bdi", { text: one.words[i] ?? "" })),
          make("td", { text: i < one.words.length ? (one.values[i] ?? "undefined") : "" })])));
      table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
    };
    const draw = () => {
      const one = measured(), shown = data.shown[state.question], columns = [];
      asked.replaceChildren(make("bdi", { text: `“${shown.asked}”` }), make("small", {}, make("bdi", { text: shown.sentence })));
      said.textContent = one.layered ? data.layers[state.layer] : "all";
      layer.disabled = !one.layered;
      prompt.disabled = !one.layered;
      const most = one.layered ? one.scales[state.layer] : one.scale, shortest = Number(most.toPrecision(2));
      frame.style.setProperty("--low", one.low); frame.style.setProperty("--high", one.high);
      key.replaceChildren(make("span", { text: one.oneSided ? "0" : -shortest }),
        make("i", { "aria-hidden": "true" }), make("span", { text: `${shortest} ${one.unit}` }), make("p", { text: one.meaning }));
      frame.style.setProperty("--mid", "#ffffff");
      if (one.oneSided) frame.style.setProperty("--low", "#ffffff");
      panels.replaceChildren();
      let number = 0;
      for (const side of ["aligned", "misaligned"]) {
        const answer = shown.answers[side];
        if (!one.layered) panel(`${side} answer`, answer, null, number++, columns);
        else for (const model of data.models) panel(`${side} answer, in ${model}`, answer, model, number++, columns);
      }
      tabled(columns);
    };
    const chosen = (event) => {
      const at = data.layers.indexOf(event.detail);
      if (at < 0 || at === state.layer) return;
      state.layer = at; layer.value = at; draw();
    };
    question.addEventListener("change", () => { state.question = Number(question.value); draw(); });
    measure.addEventListener("change", () => { state.measure = measure.value; draw(); });
    prompt.addEventListener("change", () => { state.prompt = prompt.checked; draw(); });
    layer.addEventListener("input", () => document.dispatchEvent(new CustomEvent("erosion:layer", { detail: data.layers[Number(layer.value)] })));
    document.addEventListener("erosion:layer", chosen);
    draw();
  };
})();
