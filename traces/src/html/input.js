// ---- input: mouse, keyboard, buttons; and how it begins ---------------------------------------------

/** The record under a point: the nearest one of that row, if it is near. */
const recordAt = (x, y) => {
  const lane = laneAt(y);
  if (lane < 0 || x < GUTTER || !count) return -1;
  const { records } = lanes[lane];
  const place = view.left + (x - GUTTER) / view.zoom;
  const after = lowerBound(records, lowerBound(position, place));
  let best = -1, distance = 12;
  for (const direction of [-1, 1]) {
    for (let at = direction < 0 ? after - 1 : after; at >= 0 && at < records.length; at += direction) {
      const away = Math.abs(xOf(records[at]) - x);
      if (away >= distance) break;
      if (view.shown[kind[records[at]]]) { best = records[at]; distance = away; break; }
    }
  }
  return best;
};

const hover = (event) => {
  const i = recordAt(event.offsetX, event.offsetY);
  view.hoveredLane = laneAt(event.offsetY);
  plot.classList.toggle('pointing', i >= 0);
  const tip = $('tip');
  if (i !== view.hovered) {
    view.hovered = i;
    tip.hidden = i < 0;
    if (i >= 0) tip.textContent = `${line(i)}\nrecord ${i}, ${trace.kinds[kind[i]][0]}`;
    redraw();
  }
  if (i < 0) return;
  const left = Math.min(event.offsetX + 14, view.width - tip.offsetWidth - 8);
  const below = event.offsetY + 20;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${below + tip.offsetHeight > view.height ? event.offsetY - tip.offsetHeight - 14 : below}px`;
};

// ---- mouse and touch ----

/** Pointers that are down, by id: one drags, two pinch. */
const down = new Map();
let travelled = 0;
plot.addEventListener('pointerdown', (event) => {
  if (event.button) return;
  plot.setPointerCapture(event.pointerId);
  down.set(event.pointerId, [event.offsetX, event.offsetY]);
  travelled = 0;
});
plot.addEventListener('pointermove', (event) => {
  const before = down.get(event.pointerId);
  if (!before) return hover(event);
  const [x, y] = before;
  const dx = event.offsetX - x, dy = event.offsetY - y;
  travelled += Math.abs(dx) + Math.abs(dy);
  if (travelled < 4) return;
  plot.classList.add('dragging');
  $('tip').hidden = true;
  const other = [...down].find(([id]) => id !== event.pointerId);
  if (other) {
    const apart = (a, b) => Math.max(10, Math.abs(a - b));
    zoomAt((x + other[1][0]) / 2, apart(event.offsetX, other[1][0]) / apart(x, other[1][0]));
  } else pan(-dx, -dy);
  down.set(event.pointerId, [event.offsetX, event.offsetY]);
});
const release = (event) => {
  const wasDown = down.delete(event.pointerId);
  plot.classList.remove('dragging');
  if (wasDown && event.type === 'pointerup' && travelled < 4) select(recordAt(event.offsetX, event.offsetY));
};
plot.addEventListener('pointerup', release);
plot.addEventListener('pointercancel', release);
plot.addEventListener('pointerleave', () => {
  view.hovered = view.hoveredLane = -1;
  $('tip').hidden = true;
  redraw();
});
plot.addEventListener('wheel', (event) => {
  event.preventDefault();
  // Lines and pages, where a browser counts in those, as pixels.
  const unit = [1, 16, view.height][event.deltaMode];
  const dx = event.deltaX * unit, dy = event.deltaY * unit;
  if (event.shiftKey) pan(dx || dy, 0);
  else if (event.ctrlKey || event.offsetX < GUTTER) pan(0, dy);
  else if (Math.abs(dx) > Math.abs(dy)) pan(dx, 0);
  else zoomAt(event.offsetX, Math.exp(-dy * 0.0018));
}, { passive: false });

// ---- keyboard ----

/** From the selection, or from what is in the middle, to the next shown record of a list. */
const walk = (records, direction) => {
  const at = view.selected >= 0 ? view.selected : lowerBound(position, view.left + plotWidth() / view.zoom / 2);
  const here = lowerBound(records, at);
  let place = direction > 0 && records[here] !== at ? here : here + direction;
  while (place >= 0 && place < records.length && !view.shown[kind[records[place]]]) place += direction;
  if (place >= 0 && place < records.length) select(records[place], 'show');
};
const everything = Uint32Array.from({ length: count }, (_, i) => i);
const ownLane = () => (view.selected >= 0 ? lanes[laneOf[view.selected]].records : everything);

/** To the record nearest in time on the next row that has one in reach. */
const climb = (direction) => {
  if (view.selected < 0) return walk(everything, 1);
  const order = (pins ? pinned : []).concat(rows);
  const here = order.findIndex((lane) => lane.index === laneOf[view.selected]);
  for (let row = here + direction; row >= 0 && row < order.length; row += direction) {
    const { records } = order[row];
    const after = lowerBound(records, view.selected);
    const near = [after - 1, after].filter((at) => at >= 0 && at < records.length && view.shown[kind[records[at]]]);
    if (!near.length) continue;
    const away = (at) => Math.abs(records[at] - view.selected);
    return select(records[near.reduce((a, b) => (away(b) < away(a) ? b : a))], 'show');
  }
};
const jump = (to) => { if (to >= 0) select(to, 'show'); };
const middle = () => GUTTER + plotWidth() / 2;
const toggleHelp = () => ($('help').open ? $('help').close() : $('help').showModal());
const nextTheme = () => {
  const themes = ['system', 'light', 'dark'];
  setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme ?? 'system') + 1) % 3]);
};

const keys = {
  ArrowLeft: () => walk(ownLane(), -1), ArrowRight: () => walk(ownLane(), 1),
  ArrowUp: () => climb(-1), ArrowDown: () => climb(1),
  ',': () => walk(everything, -1), '.': () => walk(everything, 1),
  a: () => pan(-plotWidth() * 0.2, 0), d: () => pan(plotWidth() * 0.2, 0),
  PageUp: () => pan(-plotWidth() * 0.9, 0), PageDown: () => pan(plotWidth() * 0.9, 0),
  Home: () => jump(count - 1 < 0 ? -1 : 0), End: () => jump(count - 1),
  '+': () => zoomAt(middle(), 1.5), '=': () => zoomAt(middle(), 1.5), '-': () => zoomAt(middle(), 1 / 1.5),
  0: () => { view.zoom = 0; moved(); },
  p: () => { if (view.selected >= 0) jump(reason[view.selected]); },
  s: () => { const [next] = view.selected >= 0 ? arrowsOutOf(view.selected) : []; if (next !== undefined) jump(arrows.to[next]); },
  g: () => { if (guilty >= 0) select(guilty, 'frame'); },
  '/': () => { $('query').focus(); $('query').select(); },
  n: () => step(1), N: () => step(-1),
  m: () => switchScale(), r: () => switchRows(), t: nextTheme, '?': toggleHelp,
  Escape: () => select(-1),
};
trace.kinds.forEach((_, number) => { keys[number + 1] = () => toggleKind(number); });

addEventListener('keydown', (event) => {
  if (event.target.matches('input') || event.ctrlKey || event.metaKey || event.altKey) return;
  if ($('help').open) {
    if (event.key === '?') $('help').close();
    return;
  }
  const action = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});

// ---- buttons ----

const switchScale = () => {
  setScale(!view.byTime);
  $('scale').textContent = view.byTime ? 'Scale: time' : 'Scale: order';
  drawMapBase();
};
const switchRows = () => {
  view.allRows = !view.allRows;
  $('rows').textContent = view.allRows ? 'Rows: all' : 'Rows: active';
  chooseRows();
  if (view.selected >= 0) reveal(laneOf[view.selected]);
  redraw();
};
const setTheme = (theme) => {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $('theme').textContent = `Theme: ${theme}`;
  readColours();
  drawMapBase();
  redraw();
};
const buttons = {
  in: keys['+'], out: keys['-'], fit: keys[0], scale: switchScale, rows: switchRows, theme: nextTheme, ask: toggleHelp,
  accused: keys.g,
};
for (const [id, action] of Object.entries(buttons)) $(id).onclick = () => action();

// ---- how it begins ----

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); drawMapBase(); redraw(); });
new ResizeObserver(resize).observe(plot);

$('end').textContent = trace.end + (trace.dropped ? ` (${trace.dropped.toLocaleString('en')} earlier records were not kept)` : '');
$('scale').textContent = 'Scale: order';
$('rows').textContent = 'Rows: active';
$('theme').textContent = 'Theme: system';
plot.setAttribute('aria-label',
  `${trace.title}: ${count} records of ${lanes.length} threads and goroutines. Arrow keys move between records.`);
showHits('');
readColours();
if (trace.guilt) {
  $('guilt').hidden = false;
  $('property').textContent = trace.guilt.property;
  $('sentence').textContent = sentence;
  $('accused').hidden = guilty < 0;
}
resize();
/** An address may end in the number of a record, `#204`: that is where it begins then. */
const begin = /^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) : guilty;
if (begin >= 0 && begin < count) select(begin, 'frame');
else {
  view.left = -1;
  moved();
  showDetails();
}
draw();

