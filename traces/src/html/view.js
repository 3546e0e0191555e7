// ---- view: what is visible, and where ---------------------------------------------------------------

const plot = $('plot');
const GUTTER = 118, AXIS = 30, ROW = 50, MIDDLE = 22;
const ZOOM_MAX = 160;

const view = {
  width: 0, height: 0,
  /** The position at the left edge of the diagram, and pixels per unit of position. */
  left: 0, zoom: 30,
  /** How far the goroutines' rows are scrolled. */
  scroll: 0,
  byTime: false, allRows: false,
  shown: trace.kinds.map(() => true),
  selected: -1, hovered: -1, hoveredLane: -1,
  /** The selected record's story, as a set. */
  story: new Set(),
  matches: new Uint32Array(0), isMatch: new Set(), match: -1,
};

/** Positions by record order, and the same with room for the virtual time that passes in between. */
const byOrder = Float64Array.from({ length: count }, (_, i) => i);
let timePositions = null;
const byTime = () => {
  if (timePositions) return timePositions;
  const gaps = [];
  for (let i = 1; i < count; i++) if (time[i] > time[i - 1]) gaps.push(time[i] - time[i - 1]);
  gaps.sort((a, b) => a - b);
  const usual = gaps[gaps.length >> 1] || 1;
  timePositions = new Float64Array(count);
  for (let i = 1; i < count; i++) {
    // Records of one moment stand close together. A pause grows with the logarithm of its length: in a
    // linear scale one timer would push everything else into a single pixel.
    const gap = Math.max(0, time[i] - time[i - 1]);
    timePositions[i] = timePositions[i - 1] + 0.5 + 0.75 * Math.log2(1 + gap / usual);
  }
  return timePositions;
};

let position = byOrder;
const extent = () => (count ? position[count - 1] : 0);
const plotWidth = () => Math.max(50, view.width - GUTTER);
const toX = (place) => GUTTER + (place - view.left) * view.zoom;
const xOf = (i) => toX(position[Math.min(i, count - 1)] + (i >= count ? 0.7 : 0));
const fitZoom = () => plotWidth() / (extent() + 2);
const clampView = () => {
  view.zoom = Math.min(ZOOM_MAX, Math.max(Math.min(fitZoom(), ZOOM_MAX), view.zoom));
  const span = plotWidth() / view.zoom;
  const low = -1, high = extent() + 1 - span;
  view.left = high < low ? (low + high) / 2 : Math.min(high, Math.max(low, view.left));
  view.scroll = Math.max(0, Math.min(view.scroll, scrollMax()));
};

/** First and last visible record, one beyond each edge. */
const visible = () => {
  const span = plotWidth() / view.zoom;
  const first = Math.max(0, lowerBound(position, view.left) - 1);
  const last = Math.min(count - 1, lowerBound(position, view.left + span) + 1);
  return [first, last];
};

// ---- rows ----

/** Lanes of threads stand still; those of goroutines scroll below them. */
const pinned = lanes.filter((lane) => !lane.isGoroutine);
const goroutines = lanes.filter((lane) => lane.isGoroutine);
let rows = [];
const rowOf = new Int32Array(lanes.length).fill(-1);

/** A window so low that the threads would fill it lets them scroll as well. */
const pins = () => AXIS + pinned.length * ROW < view.height * 0.62;
const pinnedHeight = () => (pins() ? pinned.length * ROW : 0);
const scrollMax = () => Math.max(0, rows.length * ROW - (view.height - AXIS - pinnedHeight()));

const isActive = (lane, first, last) => {
  const place = lowerBound(lane.records, first);
  if (place < lane.records.length && lane.records[place] <= last) return true;
  // One that runs all the time without a record is active too.
  const stretch = stretchAt(lane.stretches, first);
  return stretch >= 0 && doings[lane.stretches[stretch + 2]].style === RUNS;
};

/** The place of the stretch that record `i` lies in, or -1. */
const stretchAt = (triples, i) => {
  let low = 0, high = triples.length / 3;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (triples[3 * middle + 1] < i) low = middle + 1; else high = middle;
  }
  return 3 * low < triples.length && triples[3 * low] <= i ? 3 * low : -1;
};

/** Chooses the rows again. The row that the reader looks at stays where it is. */
const chooseRows = () => {
  const [first, last] = visible();
  const anchor = view.selected >= 0 ? laneOf[view.selected] : view.hoveredLane;
  const before = anchor >= 0 ? yOf(anchor) : NaN;
  const kept = view.selected >= 0 ? laneOf[view.selected] : -1;
  const inView = view.allRows ? goroutines
    : goroutines.filter((lane) => lane.index === kept || isActive(lane, first, last));
  rows = (pins() ? [] : pinned).concat(inView);
  rowOf.fill(-1);
  rows.forEach((lane, row) => { rowOf[lane.index] = row; });
  const after = anchor >= 0 ? yOf(anchor) : NaN;
  if (!isPinned(anchor) && Number.isFinite(before) && Number.isFinite(after)) view.scroll += after - before;
  clampView();
};

const isPinned = (lane) => lane >= 0 && pins() && !lanes[lane].isGoroutine;
/** The middle of a lane's row; NaN when it has none. */
const yOf = (lane) => {
  if (isPinned(lane)) return AXIS + lane * ROW + MIDDLE;
  if (rowOf[lane] < 0) return NaN;
  return AXIS + pinnedHeight() + rowOf[lane] * ROW - view.scroll + MIDDLE;
};
/** The lane whose row is at height `y`, or -1. */
const laneAt = (y) => {
  if (y < AXIS) return -1;
  if (y < AXIS + pinnedHeight()) return pinned[Math.floor((y - AXIS) / ROW)]?.index ?? -1;
  return rows[Math.floor((y - AXIS - pinnedHeight() + view.scroll) / ROW)]?.index ?? -1;
};

// ---- moving ----

/** Rows change when the view has come to rest, so that nothing jumps under a moving hand. */
let rest = 0;
const moved = () => {
  clampView();
  clearTimeout(rest);
  rest = setTimeout(() => { chooseRows(); redraw(); }, 140);
  redraw();
};

const zoomAt = (x, factor) => {
  const place = view.left + (x - GUTTER) / view.zoom;
  view.zoom = Math.min(ZOOM_MAX, Math.max(Math.min(fitZoom(), ZOOM_MAX), view.zoom * factor));
  view.left = place - (x - GUTTER) / view.zoom;
  moved();
};
const pan = (dx, dy) => {
  view.left += dx / view.zoom;
  view.scroll += dy;
  moved();
};
const centre = (i) => {
  view.left = position[i] - plotWidth() / view.zoom / 2;
  clampView();
  chooseRows();
  reveal(laneOf[i]);
  moved();
};
/** Scrolls as little as possible until a lane is visible. */
const reveal = (lane) => {
  if (isPinned(lane)) return;
  const y = yOf(lane), top = AXIS + pinnedHeight();
  if (y - MIDDLE < top) view.scroll -= top - (y - MIDDLE);
  if (y - MIDDLE + ROW > view.height) view.scroll += y - MIDDLE + ROW - view.height;
  clampView();
};
const isOnScreen = (i) => {
  const x = xOf(i), y = yOf(laneOf[i]);
  return x >= GUTTER && x <= view.width && y >= AXIS && y <= view.height;
};

const setScale = (useTime) => {
  // What is in the middle stays there, and about as many records stay visible.
  const span = plotWidth() / view.zoom;
  const middle = Math.min(count - 1, lowerBound(position, view.left + span / 2));
  const held = view.selected >= 0 && isOnScreen(view.selected) ? view.selected : middle;
  const x = xOf(held);
  const ratio = extent();
  view.byTime = useTime;
  position = useTime ? byTime() : byOrder;
  view.zoom *= ratio / (extent() || 1);
  view.left = position[held] - (x - GUTTER) / view.zoom;
  moved();
};

