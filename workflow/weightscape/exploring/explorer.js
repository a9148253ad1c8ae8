// What the explorer's page does when a reader chooses: `what` was chosen, and all else is a model
// of Bokeh by the names in page.py. The state is in the page's address, so that a view can be sent.
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962",
  "#addc30", "#fde725"];
const n = source.get_length();

// a number of each run, from the store of each population in turn, which has `sizes` of them
function values(key, stores) {
  if (stores === undefined && key in source.data) return source.data[key];
  const found = new Float32Array(n).fill(NaN);
  let first = 0;
  (stores ?? numbers).forEach((store, population) => {
    if (key in store.data) found.set(store.data[key], first);
    first += sizes[population];
  });
  return found;
}

function place() {
  const map = choices.map.value;
  Object.assign(source.data, {
    x: values(choices.x.value), y: values(choices.y.value),
    map_x: values(map + ": x", maps), map_y: values(map + ": y", maps),
  });
  axes.x.axis_label = axes.bars.axis_label = choices.x.value;
  axes.y.axis_label = choices.y.value;
  axes.map.text = "Map of t-SNE: " + map;
}

function paint() {
  const by = choices.colour.value;
  const entries = [];
  if (by === "group") {
    source.data.colour = Array.from(source.data.group, (group) => groups[group]);
    const there = new Set(source.data.group);
    for (const [group, colour] of Object.entries(groups)) {
      if (there.has(group)) entries.push([colour, group]);
    }
  } else {
    const numbers = Array.from(by === "width" ? source.data.size : source.data[by],
      (value) => by === "width" ? Math.log(value) : value);
    const known = numbers.filter(Number.isFinite);
    const low = Math.min(...known), high = Math.max(...known);
    const colour = (value) => Number.isFinite(value)
      ? VIRIDIS[Math.round((value - low) / ((high - low) || 1) * (VIRIDIS.length - 1))] : "#8C8C8C";
    source.data.colour = numbers.map(colour);
    const shown = (value) => by === "width" ? Math.round(Math.exp(value)) : value.toFixed(1);
    entries.push([colour(low), by + ": " + shown(low)], [colour(high), shown(high)]);
  }
  // colours and numbers of ours alone, and groups, whose names are fixed
  legend.text = entries.map(([colour, text]) =>
    `<span style="color:${colour}">&#9679;</span> ${text}`).join(" &nbsp; ");
}

function filter() {
  const wanted = Object.entries(filters).filter(([, choice]) => choice.value.length > 0)
    .map(([key, choice]) => [source.data[key], new Set(choice.value)]);
  kept.booleans = Array.from({length: n}, (_, i) =>
    wanted.every(([column, allowed]) => allowed.has(column[i])));
  const seen = source.selected.indices.filter((i) => kept.booleans[i]);
  if (seen.length < source.selected.indices.length) source.selected.indices = seen;
}

function follow() {
  const indices = source.selected.indices;
  const some = indices.slice(0, most);
  const accuracy = curves.data.accuracy;
  drawn.data = {
    xs: some.map((i) => Array.from(accuracy[i], (_, epoch) => epoch)),
    ys: some.map((i) => Array.from(accuracy[i])),
    colour: some.map((i) => source.data.colour[i]),
  };
  chosen.data = Object.fromEntries(columns.map((key) =>
    [key, indices.map((i) => source.data[key][i])]));
  const shown = kept.booleans.filter(Boolean).length;
  const selected = new Set(indices);
  told.text = `n = ${shown} of ${n} runs are shown, ${indices.length} are selected. `
    + "Draw a box or a lasso in any view; shift adds." + warn(indices, selected) + miss(indices);
  divide(selected);
  weigh(selected);
}

// the rest of each population that a selected run is of, if none of it has their widths
function warn(indices, selected) {
  const {model, dataset, width} = source.data;
  const population = (i) => `${model[i]} ${dataset[i]}`;
  const own = new Set(indices.map(population));
  const widths = new Set(indices.map((i) => `${population(i)} ${width[i]}`));
  const rest = Array.from(model.keys()).filter((i) =>
    kept.booleans[i] && !selected.has(i) && own.has(population(i)));
  const isOfWidth = rest.length > 0 && rest.every((i) => !widths.has(`${population(i)} ${width[i]}`));
  return isOfWidth
    ? "\nNo run of the rest has a width of those selected: width may be what sets them apart."
    : "";
}

// selected runs that a view can't show, such as those whose models lack its layer
function miss(indices) {
  const without = (x, y) => indices.filter((i) =>
    !Number.isFinite(source.data[x][i]) || !Number.isFinite(source.data[y][i])).length;
  const told = [["x", "y", "two numbers"], ["map_x", "map_y", "map"]]
    .map(([x, y, view]) => [without(x, y), view]).filter(([count]) => count > 0)
    .map(([count, view]) => `${count} in the view "${view}"`);
  return told.length > 0
    ? `\nSelected runs that have no such number, and so no dot: ${told.join(", ")}.` : "";
}

// dots are drawn first: what follows from them waits until a frame has shown them
function followLater() {
  const later = (ms) => {
    clearTimeout(source.following);
    source.following = setTimeout(() => { follow(); remember(); }, ms);
  };
  clearTimeout(source.following);
  source.following = setTimeout(() => {
    later(60); // where no frame comes, as in a page out of sight
    requestAnimationFrame(() => later(0));
  }, 40);
}

function divide(selected) {
  const across = source.data.x;
  const known = Array.from(across.keys()).filter((i) =>
    Number.isFinite(across[i]) && kept.booleans[i]);
  let low = Infinity, high = -Infinity;
  for (const i of known) { low = Math.min(low, across[i]); high = Math.max(high, across[i]); }
  const bins = 40, step = (high - low) / bins || 1;
  const counts = {chosen: new Array(bins).fill(0), rest: new Array(bins).fill(0)};
  const totals = {chosen: 0, rest: 0};
  for (const i of known) {
    const side = selected.has(i) ? "chosen" : "rest";
    counts[side][Math.min(bins - 1, Math.floor((across[i] - low) / step))]++;
    totals[side]++;
  }
  const edges = counts.chosen.map((_, bin) => low + bin * step);
  bars.data = known.length === 0 ? {left: [], right: [], chosen: [], rest: []} : {
    left: edges, right: edges.map((edge) => edge + step),
    chosen: counts.chosen.map((count) => count / (totals.chosen || 1)),
    rest: counts.rest.map((count) => count / (totals.rest || 1)),
  };
}

// densities of weights, means over the runs of one population that have any
function weigh(selected) {
  const name = choices.weights.value;
  const population = shares.findIndex((store) => name in store.data);
  if (population === -1) return;
  const first = sizes.slice(0, population).reduce((sum, size) => sum + size, 0);
  const ends = Array.from(edges[population].data[name]), of = shares[population].data[name];
  const bins = ends.length - 1, step = ends[1] - ends[0];
  const sums = {chosen: new Float64Array(bins), rest: new Float64Array(bins)};
  const counts = {chosen: 0, rest: 0};
  for (let run = 0; run < sizes[population]; run++) {
    const own = Array.from({length: bins}, (_, bin) => of[run * bins + bin]);
    if (!kept.booleans[first + run] || own.every((share) => share === 0)) continue;
    const side = selected.has(first + run) ? "chosen" : "rest";
    own.forEach((share, bin) => sums[side][bin] += share);
    counts[side]++;
  }
  const mean = (side) => sums[side].map((sum) => sum / whole / step / (counts[side] || 1));
  density.data = {left: ends.slice(0, -1), right: ends.slice(1), chosen: mean("chosen"),
    rest: mean("rest")};
  axes.weights.axis_label = `weight (${name}): ${counts.chosen} runs selected, ${counts.rest} the rest`;
}

// 0-4.7 for the runs 0 to 4 and 7
function pack(indices) {
  const sorted = [...indices].sort((a, b) => a - b), parts = [];
  for (const i of sorted) {
    const last = parts.at(-1);
    if (last !== undefined && last[1] === i - 1) last[1] = i; else parts.push([i, i]);
  }
  return parts.map(([a, b]) => a === b ? `${a}` : `${a}-${b}`).join(".");
}

function unpack(text) {
  return text.split(".").filter(Boolean).flatMap((part) => {
    const [a, b] = part.split("-").map(Number);
    return Array.from({length: (b ?? a) - a + 1}, (_, i) => a + i);
  }).filter((i) => Number.isInteger(i) && i >= 0 && i < n);
}

function remember() {
  const state = new URLSearchParams();
  for (const [key, choice] of Object.entries(choices)) state.set(key, choice.value);
  for (const [key, choice] of Object.entries(filters)) {
    for (const value of choice.value) state.append("only-" + key, value);
  }
  state.set("runs", pack(source.selected.indices));
  history.replaceState(null, "", "#" + state);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const [key, choice] of Object.entries(choices)) {
    if (choice.options.includes(state.get(key))) choice.value = state.get(key);
  }
  for (const [key, choice] of Object.entries(filters)) {
    choice.value = state.getAll("only-" + key).filter((value) => choice.options.includes(value));
  }
  source.selected.indices = unpack(state.get("runs") ?? "");
}

function csv() {
  const cell = (value) => /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
  const rows = source.selected.indices.map((i) => columns.map((key) => cell(source.data[key][i])));
  return [columns.map(cell), ...rows].map((row) => row.join(",")).join("\n") + "\n";
}

if (what === "copy") {
  navigator.clipboard.writeText(csv());
} else if (what === "save") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], {type: "text/csv"}));
  link.download = "runs.csv";
  link.click();
} else if (what === "clear") {
  source.selected.indices = [];
} else if (what === "selection") {
  followLater();
} else {
  if (what === "start") recall();
  place();
  paint();
  filter();
  source.change.emit();
  follow();
  remember();
}
