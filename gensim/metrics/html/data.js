"use strict";
// What Python wrote into the page, and how numbers and names are read and shown.

const DATA = JSON.parse(document.getElementById("data").textContent);

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Little-endian IEEE 754 half precision to numbers. */
function float16(bytes) {
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true);
    const sign = bits >> 15 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
}

/** Arrays of a condition's pictures, in the order in which `page_data` put them. */
function picturesOf(condition) {
  const packed = condition.pictures;
  const numbers = float16(bytesOf(packed.numbers));
  let at = 0;
  const take = (n) => numbers.slice(at, (at += n));
  const rowsOf = (flat, width) =>
    Array.from({ length: flat.length / width }, (_, i) => flat.slice(width * i, width * (i + 1)));
  const view = new DataView(bytesOf(packed.genes).buffer);
  const genes = Array.from({ length: view.byteLength / 4 }, (_, i) => DATA.genes[view.getUint32(4 * i, true)]);
  const places = Object.fromEntries(
    DATA.populations.map((population, i) => [population, rowsOf(take(2 * packed.n_places[i]), 2)]),
  );
  const ofGenes = Object.fromEntries(DATA.gene_columns.map((column) => [column, take(genes.length)]));
  const width = DATA.probabilities.length;
  const distributions = Array.from({ length: packed.n_distributions }, () =>
    Object.fromEntries(DATA.populations.map((population) => [population, take(width)])),
  );
  const coverage = Object.fromEntries(packed.coverage.map((name) => [name, take(DATA.levels.length)]));
  return { places, genes, ofGenes, distributions, coverage };
}

/** Means and variances of genes over all conditions, in the order in which `page_data` put their logarithms. */
function spreadOf({ n, numbers }) {
  const logs = float16(bytesOf(numbers));
  const [mean, variance, simulated, ratio] = [0, 1, 2, 3].map((k) => logs.slice(k * n, (k + 1) * n));
  const linear = (values) => values.map((value) => 10 ** value);
  return {
    mean: { real: linear(mean), simulated: linear(simulated) },
    variance: { real: linear(variance), simulated: linear(variance.map((value, i) => value + ratio[i])) },
    ratio: linear(ratio),
  };
}

/** For plotly, which reads tags in its texts. */
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** A number to three digits; a dash where there is none. */
function shown(value) {
  if (typeof value !== "number" || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

function spaced(name) {
  return name.replace(/_/g, " ");
}

/** What a row is called; a bound is called so. */
function rowName(row) {
  return row in DATA.bounds ? `${spaced(row)} (${DATA.bounds[row]})` : spaced(row);
}

/** An element with text, and with attributes. */
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
