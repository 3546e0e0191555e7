// ---- draw: the diagram ------------------------------------------------------------------------------

const colours = {};
/** Canvas does not know CSS properties: they are read again when the theme changes. */
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  const names = ['back', 'panel', 'stripe', 'rule', 'edge', 'text', 'muted', 'accent', 'on-accent', 'guilt', 'guilt-back', 'found',
    ...trace.kinds.map(([name]) => name), ...trace.lines.map(([name]) => `line-${name}`),
    ...[0, 1, 2, 3, 4, 5].map((number) => `thread-${number}`)];
  for (const name of names) colours[name] = style.getPropertyValue(`--${name}`).trim();
};

const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
const marks = trace.kinds.map(([, path]) => new Path2D(path));
const context = plot.getContext('2d');
let asked = 0;
const redraw = () => { asked ||= requestAnimationFrame(() => { asked = 0; draw(); }); };

const resize = () => {
  const ratio = devicePixelRatio || 1;
  view.width = plot.clientWidth;
  view.height = plot.clientHeight;
  plot.width = Math.round(view.width * ratio);
  plot.height = Math.round(view.height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = `10.5px ${MONO}`;
  character = context.measureText('0123456789').width / 10;
  clampView();
  chooseRows();
  drawMapBase();
  redraw();
};

const draw = () => {
  const ctx = context;
  ctx.clearRect(0, 0, view.width, view.height);
  if (!count) return drawNothing(ctx);
  const [first, last] = visible();
  const area = (top, bottom, body) => {
    ctx.save();
    ctx.beginPath();
    ctx.rect(GUTTER, top, view.width - GUTTER, bottom - top);
    ctx.clip();
    body();
    ctx.restore();
  };
  const split = AXIS + pinnedHeight;
  const top = pins ? pinned : [];
  const inSight = rows.filter(({ index }) => yOf(index) - MIDDLE < view.height && yOf(index) - MIDDLE + heights[index] > split);
  drawGround(ctx, inSight, top, split);
  const lists = [[inSight, split, view.height], [top, AXIS, split]];
  for (const [list, from, to] of lists) area(from, to, () => list.forEach((lane) => drawStretches(ctx, lane, first, last)));
  area(AXIS, view.height, () => drawArrows(ctx, first, last));
  for (const [list, from, to] of lists) area(from, to, () => drawRecords(ctx, list, first, last));
  drawAxis(ctx, first, last);
  drawNames(ctx, inSight, top, split);
  drawMap();
};

const drawNothing = (ctx) => {
  ctx.fillStyle = colours.muted;
  ctx.font = `14px ${SANS}`;
  ctx.fillText('This trace has no records.', GUTTER, 60);
};

/** What lies under everything: stripes, and the columns of the failing and the selected record. */
const drawGround = (ctx, inSight, top, split) => {
  const stripe = (lane, row, edge) => {
    if (row % 2 === 0) return;
    const y = Math.max(edge, yOf(lane.index) - MIDDLE);
    ctx.fillRect(0, y, view.width, yOf(lane.index) - MIDDLE + heights[lane.index] - y);
  };
  ctx.fillStyle = colours.stripe;
  top.forEach((lane, row) => stripe(lane, row, AXIS));
  // By its place among all rows: a stripe moves with its row.
  const before = rows.indexOf(inSight[0]);
  inSight.forEach((lane, row) => stripe(lane, before + row, split));
  const column = (i, colour, alpha, width) => {
    const from = Math.max(GUTTER, xOf(i) - width / 2), to = xOf(i) + width / 2;
    if (i < 0 || to <= from) return;
    ctx.globalAlpha = alpha;
    ctx.fillStyle = colour;
    ctx.fillRect(from, AXIS, to - from, view.height);
    ctx.globalAlpha = 1;
  };
  const wide = Math.max(3, Math.min(26, view.zoom * 0.8));
  column(guilty, colours['guilt-back'], 1, wide + 6);
  column(guilty, colours.guilt, 0.85, 1.5);
  if (view.selected !== guilty) column(view.selected, colours.accent, 0.15, wide);
};

// ---- stretches ----

const drawStretches = (ctx, lane, first, last) => {
  const y = yOf(lane.index);
  const x0 = Math.max(GUTTER - 2, lane.from < count ? xOf(lane.from) : GUTTER);
  const x1 = Math.min(view.width + 2, xOf(lane.to));
  if (!lane.isGoroutine && x1 > x0) {
    ctx.fillStyle = colours.rule;
    ctx.fillRect(x0, y - 0.5, x1 - x0, 1);
  }
  const captions = [];
  drawTriples(ctx, lane.stretches, y, first, last, captions, (x, width, doing) => {
    if (doing.style === RUNS) {
      ctx.fillStyle = colours[`thread-${doing.colour}`];
      ctx.fillRect(x, y - 4, Math.max(1, width), 8);
    } else if (doing.style === RUNNABLE) {
      dashes(ctx, x, y, width, [3, 3], 3, colours.edge);
    } else if (doing.style === PHASE) {
      dashes(ctx, x, y, width, [1.5, 3.5], 3, colours.edge);
    } else {
      ctx.fillStyle = colours.edge;
      ctx.fillRect(x, y - 0.75, Math.max(1, width), 1.5);
    }
  });
  drawTriples(ctx, lane.blocks, y, first, last, captions, (x, width) => {
    ctx.strokeStyle = ctx.fillStyle = colours.edge;
    ctx.lineWidth = 1;
    if (width < 3) ctx.fillRect(x, y - 6.5, 1, 13);
    else ctx.strokeRect(x + 0.5, y - 6.5, width, 13);
  });
};

const dashes = (ctx, x, y, width, pattern, thickness, colour) => {
  if (width < 6) {
    ctx.fillStyle = colour;
    return ctx.fillRect(x, y - thickness / 2, Math.max(1, width), thickness);
  }
  const start = Math.max(x, GUTTER - 20 + ((x - GUTTER) % 6)), end = Math.min(x + width, view.width);
  ctx.strokeStyle = colour;
  ctx.lineWidth = thickness;
  ctx.setLineDash(pattern);
  ctx.beginPath();
  ctx.moveTo(start, y);
  ctx.lineTo(end, y);
  ctx.stroke();
  ctx.setLineDash([]);
};

/** Draws the stretches in view. A caption stands above the beginning, or at the left edge. */
const drawTriples = (ctx, triples, y, first, last, captions, paint) => {
  ctx.font = `10.5px ${SANS}`;
  for (let place = firstStretch(triples, first); place < triples.length && triples[place] <= last; place += 3) {
    const x = xOf(triples[place]), end = xOf(triples[place + 1]);
    const doing = doings[triples[place + 2]];
    paint(x, end - x, doing);
    if (end - x < 1) {
      // Of several in one pixel the first stands for all: on to one that reaches the next pixel.
      place = Math.max(place, firstStretch(triples, lowerBound(position, position[triples[place]] + 1 / view.zoom)) - 3);
      continue;
    }
    let start = Math.max(x - 4, GUTTER + 6);
    // What a worker is doing comes first, then what blocks it at that.
    for (const [from, to] of captions) if (start >= from - 40 && start < to) start = to;
    const room = Math.min(end, view.width) - start - 4;
    const label = room > 20 ? clip(doing.label, room, 5.9) : '';
    if (!label) continue;
    ctx.fillStyle = doing.style === RUNS ? colours.text : colours.muted;
    ctx.fillText(label, start, y - 10);
    captions.push([start, start + ctx.measureText(label).width + 10]);
  }
};

/** As much of a label as there is room for. */
const clip = (label, room, width = character) => {
  const fits = Math.floor(room / width);
  if (label.length <= fits) return label;
  return fits >= 4 ? `${label.slice(0, fits - 1)}…` : '';
};

// ---- records ----

const drawRecords = (ctx, list, first, last) => {
  const isNear = view.zoom >= MARKS;
  const byKind = trace.kinds.map(() => []);
  for (const lane of list) {
    const y = yOf(lane.index);
    for (let place = lowerBound(lane.records, first); place < lane.records.length; place++) {
      const i = lane.records[place];
      if (i > last) break;
      if (!view.shown[kind[i]]) continue;
      byKind[kind[i]].push(xOf(i), y, i);
      // Of a crowd in one pixel one tick is seen: on to the next pixel.
      if (!isNear) place = lowerBound(lane.records, lowerBound(position, position[i] + 1 / view.zoom)) - 1;
    }
  }
  byKind.forEach((found, number) => (isNear ? drawMarks : drawTicks)(ctx, found, number));
  if (view.zoom >= LABELS) for (const lane of list) drawLabels(ctx, lane, first, last);
  for (const i of [view.hovered, view.selected, guilty]) drawRing(ctx, list, i);
};

const drawTicks = (ctx, found, number) => {
  ctx.fillStyle = colours[trace.kinds[number][0]];
  for (let place = 0; place < found.length; place += 3) {
    const tall = view.isMatch.has(found[place + 2]) ? 10 : 5;
    ctx.fillRect(found[place] - 0.5, found[place + 1] - tall, 1, 2 * tall);
  }
};

const drawMarks = (ctx, found, number) => {
  const scale = Math.min(1, 0.45 + view.zoom / 22);
  const path = new Path2D();
  const matched = new Path2D();
  for (let place = 0; place < found.length; place += 3) {
    const at = new DOMMatrix([scale, 0, 0, scale, found[place], found[place + 1]]);
    path.addPath(marks[number], at);
    if (view.isMatch.has(found[place + 2])) {
      matched.moveTo(found[place] + 8, found[place + 1]);
      matched.arc(found[place], found[place + 1], 8, 0, 7);
    }
  }
  // The rim sets marks off from the bar that they stand on.
  ctx.strokeStyle = colours.back;
  ctx.lineWidth = 2.5;
  ctx.stroke(path);
  ctx.fillStyle = colours[trace.kinds[number][0]];
  ctx.fill(path);
  ctx.strokeStyle = colours.found;
  ctx.lineWidth = 2;
  ctx.stroke(matched);
};

/** Labels below the marks. With n lines each may be as long as the n-th next mark allows. */
const drawLabels = (ctx, lane, first, last) => {
  const y = yOf(lane.index), lines = levels[lane.index];
  ctx.font = `10.5px ${MONO}`;
  ctx.strokeStyle = colours.back;
  ctx.lineWidth = 3;
  ctx.lineJoin = 'round';
  const shown = (place) => view.shown[kind[lane.records[place]]];
  const from = lowerBound(lane.records, first), to = lowerBound(lane.records, last + 1);
  // From a fixed place before the view: else the labels would change their lines while it moves.
  const places = [];
  for (let place = Math.max(0, (from - 8) & ~7); place < Math.min(lane.records.length, to + lines); place++) {
    if (shown(place)) places.push(lane.records[place]);
  }
  const ends = new Array(lines).fill(-Infinity);
  places.forEach((i, order) => {
    if (i > last) return;
    const x = xOf(i) - 4;
    // Without its mark the rest of a label says nothing.
    if (x < GUTTER - 4) return;
    const next = places[order + lines];
    const label = clip(labelOf(lane, i), (next === undefined ? Infinity : xOf(next)) - x - 12);
    const level = ends.findIndex((end) => end <= x);
    if (!label || level < 0) return;
    ends[level] = x + label.length * character + 8;
    ctx.fillStyle = i === guilty ? colours.guilt : view.story.has(i) || i === view.hovered ? colours.text : colours.muted;
    // The rim keeps lines that pass behind it out of the letters.
    ctx.strokeText(label, x, y + 17 + 11 * level);
    ctx.fillText(label, x, y + 17 + 11 * level);
  });
};

/** Rings tell selected, hovered and failing records apart: whole, thin, and with a cross above. */
const drawRing = (ctx, list, i) => {
  if (i < 0 || !list.includes(lanes[laneOf[i]])) return;
  const x = xOf(i), y = yOf(laneOf[i]);
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.arc(x, y, i === guilty ? 10.5 : 8, 0, 7);
  ctx.lineWidth = i === view.hovered ? 1.5 : 2.5;
  ctx.strokeStyle = i === guilty ? colours.guilt : colours.accent;
  ctx.stroke();
};

// ---- axis and names ----

const drawAxis = (ctx, first, last) => {
  ctx.fillStyle = colours.panel;
  ctx.fillRect(0, 0, view.width, AXIS);
  ctx.fillStyle = colours.rule;
  ctx.fillRect(0, AXIS - 1, view.width, 1);
  ctx.font = `11px ${SANS}`;
  // A tick every 1, 2 or 5 times a power of ten records, at least so many pixels apart.
  const apart = Math.max(1, ((last - first) * 96) / plotWidth());
  const power = 10 ** Math.floor(Math.log10(apart));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= apart);
  let free = GUTTER;
  for (let i = Math.ceil(first / step) * step; i <= last; i += step) {
    const x = xOf(i);
    if (x < GUTTER) continue;
    ctx.fillStyle = colours.edge;
    ctx.fillRect(x - 0.5, AXIS - 6, 1, 6);
    const isUnderFlag = guilty >= 0 && Math.abs(x + 12 - xOf(guilty)) < 34;
    if (x < free || isUnderFlag) continue;
    const label = view.byTime ? micros(time[i]) : String(i);
    ctx.fillStyle = colours.muted;
    ctx.fillText(label, x + 4, AXIS - 10);
    free = x + ctx.measureText(label).width + 16;
  }
  if (guilty >= 0) flag(ctx, xOf(guilty), colours.guilt, '\u2715');
  if (view.selected >= 0) flag(ctx, xOf(view.selected), colours.accent, '');
  ctx.fillStyle = colours.panel;
  ctx.fillRect(0, 0, GUTTER, AXIS - 1);
  ctx.fillStyle = colours.muted;
  ctx.fillText(view.byTime ? 'virtual time' : 'record', 12, AXIS - 10);
};

const flag = (ctx, x, colour, sign) => {
  if (x < GUTTER) return;
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.moveTo(x - 6, AXIS - 8);
  ctx.lineTo(x + 6, AXIS - 8);
  ctx.lineTo(x, AXIS);
  ctx.fill();
  if (!sign) return;
  ctx.fillRect(x - 9, 3, 18, AXIS - 11);
  ctx.fillStyle = colours.back;
  ctx.font = `bold 12px ${SANS}`;
  ctx.textAlign = 'center';
  ctx.fillText(sign, x, AXIS - 13);
  ctx.textAlign = 'left';
};

const drawNames = (ctx, inSight, top, split) => {
  const name = (lane) => {
    const y = yOf(lane.index);
    const isChosen = view.selected >= 0 && laneOf[view.selected] === lane.index;
    const isAccused = trace.guilt && trace.guilt.g !== null && lane.name === `g${trace.guilt.g}`;
    ctx.fillStyle = isAccused ? colours.guilt : isChosen ? colours.accent : colours.text;
    ctx.font = `${isChosen || isAccused ? 'bold ' : ''}13px ${MONO}`;
    ctx.fillText(`${isAccused ? '\u2715 ' : ''}${lane.name}`, 12, y + 4.5);
  };
  ctx.fillStyle = colours.rule;
  ctx.fillRect(GUTTER - 1, AXIS, 1, view.height);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, split, GUTTER - 1, view.height - split);
  ctx.clip();
  inSight.forEach(name);
  ctx.restore();
  top.forEach(name);
  if (top.length) {
    ctx.fillStyle = colours.edge;
    ctx.fillRect(0, split - 1, view.width, 1);
  }
  drawScrollbar(ctx, split);
};

/** Where the rows of goroutines are, when not all of them fit. */
const drawScrollbar = (ctx, split) => {
  const high = view.height - split, all = rowsHeight;
  if (all <= high) return;
  ctx.fillStyle = colours.edge;
  const size = Math.max(20, (high * high) / all);
  const at = split + (view.scroll / (all - high)) * (high - size);
  ctx.beginPath();
  ctx.roundRect(view.width - 7, at + 2, 5, size - 4, 2.5);
  ctx.fill();
};

