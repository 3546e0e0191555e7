// ---- view: what is visible, and where ---------------------------------------------------------------

const plot = $('plot');
const GUTTER = 104, AXIS = 30;
/** From the upper edge of a row to its line; the height of a row without labels; most lines of labels. */
const MIDDLE = 22, IDLE = 36, LEVELS = 5;
/** Pixels per unit of position at most, and from which on there are marks instead of ticks, and labels. */
const ZOOM_MAX = 160, MARKS = 2.5, LABELS = 7;
/** Width of a character of the labels; all have one width, so that clipping needs no measuring. */
let character = 6.3;

const view = {
  width: 0, height: 0,
  /** The position at the left edge of the diagram, and pixels per unit of position. */
  left: 0, zoom: 38,
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
/** The lanes that have a row among those that scroll. */
let rows = [];
/** By lane: the upper edge of its row within its part (NaN: it has none), its height, its lines of labels. */
const tops = new Float64Array(lanes.length).fill(NaN);
const heights = new Float64Array(lanes.length).fill(IDLE);
const levels = new Uint8Array(lanes.length).fill(1);
let pinnedHeight = 0, rowsHeight = 0;

/** Threads that would fill the window scroll as well. */
let pins = true;
const scrollMax = () => Math.max(0, rowsHeight - (view.height - AXIS - pinnedHeight));

/** Chooses the rows and their heights anew. The row that the reader looks at stays where it is. */
const chooseRows = () => {
  // Those just outside of the view are drawn, for what reaches into it, but make no row.
  const first = lowerBound(position, view.left), last = lowerBound(position, view.left + plotWidth() / view.zoom) - 1;
  const anchor = view.selected >= 0 ? laneOf[view.selected] : view.hoveredLane;
  const before = anchor >= 0 ? yOf(anchor) : NaN;
  const room = view.height - AXIS;
  rows = view.allRows ? goroutines : goroutines.filter((lane) => isKept(lane) || isActive(lane, first, last));
  // Labels get as many lines as they want, if there is room for that.
  for (let most = LEVELS; most >= 2; most--) {
    for (const list of [pinned, rows]) list.forEach((lane) => measure(lane, first, last, most));
    if (total(pinned) + total(rows) <= room) break;
  }
  if (!view.allRows) fill(room - total(pinned) - total(rows), first, last);
  pins = total(pinned) < room * 0.62;
  if (!pins) rows = pinned.concat(rows);
  tops.fill(NaN);
  pinnedHeight = pins ? stack(pinned) : 0;
  rowsHeight = stack(rows);
  const after = anchor >= 0 ? yOf(anchor) : NaN;
  if (!isPinned(anchor) && Number.isFinite(before) && Number.isFinite(after)) view.scroll += after - before;
  clampView();
};

const total = (list) => list.reduce((sum, lane) => sum + heights[lane.index], 0);
const stack = (list) => list.reduce((top, lane) => {
  tops[lane.index] = top;
  return top + heights[lane.index];
}, 0);

/** What the selected story and the violation are about has a row wherever one is. */
const isKept = (lane) => keptLanes.has(lane.index);
let keptLanes = new Set();
const keepLanes = () => {
  keptLanes = new Set([...view.story].map((i) => laneOf[i]));
  const accused = lanes.find((lane) => lane.isGoroutine && lane.name === `g${trace.guilt?.g}`);
  if (accused) keptLanes.add(accused.index);
};

const isActive = (lane, first, last) => {
  const place = lowerBound(lane.records, first);
  if (place < lane.records.length && lane.records[place] <= last) return true;
  // One that runs all the time without a record is active too.
  const stretch = stretchAt(lane.stretches, first);
  return stretch >= 0 && doings[lane.stretches[stretch + 2]].style === RUNS;
};

/** The place of the stretch that record `i` lies in, or -1. */
const stretchAt = (triples, i) => {
  const place = firstStretch(triples, i);
  return place < triples.length && triples[place] <= i ? place : -1;
};
/** The place of the first stretch that does not end before record `i`. */
const firstStretch = (triples, i) => {
  let low = 0, high = triples.length / 3;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (triples[3 * middle + 1] < i) low = middle + 1; else high = middle;
  }
  return 3 * low;
};

/** Room that is left goes to goroutines that are alive, those first that did something most lately. */
const fill = (room, first, last) => {
  const fits = Math.floor(room / IDLE);
  if (fits <= 0) return;
  const taken = new Set(rows);
  const away = (lane) => {
    const place = lowerBound(lane.records, first);
    return Math.min(first - (lane.records[place - 1] ?? -Infinity), (lane.records[place] ?? Infinity) - last);
  };
  const others = goroutines.filter((lane) => !taken.has(lane) && lane.from <= last && lane.to >= first);
  const near = others.map((lane) => [away(lane), lane]).sort((a, b) => a[0] - b[0] || a[1].index - b[1].index);
  const chosen = near.slice(0, fits).map(([, lane]) => lane);
  for (const lane of chosen) [heights[lane.index], levels[lane.index]] = [IDLE, 1];
  rows = rows.concat(chosen).sort((a, b) => a.index - b.index);
};

/** How many lines of labels a lane needs so that none is cut off, `most` at most; and its height. */
const measure = (lane, first, last, most) => {
  let needs = 0;
  if (view.zoom >= LABELS) {
    const from = lowerBound(lane.records, first), to = lowerBound(lane.records, last + 1);
    needs = to > from ? 1 : 0;
    for (let place = from; place < to && needs < most; place++) {
      const end = xOf(lane.records[place]) + labelOf(lane, lane.records[place]).length * character + 8;
      while (needs < most && place + needs < lane.records.length && xOf(lane.records[place + needs]) < end) needs++;
    }
  }
  levels[lane.index] = Math.max(1, needs);
  heights[lane.index] = needs ? MIDDLE + 26 + 11 * (needs - 1) : IDLE;
};

/** What stands at a mark: its text, less the name of the goroutine whose row it is. */
const labelOf = (lane, i) => {
  const own = ` ${lane.name}`;
  return lane.isGoroutine && text(i).includes(own) ? text(i).replace(own + ':', ':').replace(new RegExp(`${own}$`), '') : text(i);
};

const isPinned = (lane) => lane >= 0 && pins && !lanes[lane].isGoroutine;
/** The middle of a lane's row, where its line is; NaN when it has none. */
const yOf = (lane) => AXIS + MIDDLE + tops[lane] + (isPinned(lane) ? 0 : pinnedHeight - view.scroll);
/** The lane whose row is at height `y`, or -1. */
const laneAt = (y) => {
  const isAt = (lane) => {
    const top = yOf(lane.index) - MIDDLE;
    return y >= top && y < top + heights[lane.index];
  };
  if (y < AXIS) return -1;
  return (y < AXIS + pinnedHeight ? pinned : rows).find(isAt)?.index ?? -1;
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
/** Centres a record, zoomed so that the later part of its story is in view, if that is not far away. */
const STORY_FAR = 90, ZOOM_FRAME = [11, 38];
const frame = (i) => {
  const near = storyOf(i).filter((of) => i - of <= STORY_FAR);
  const span = position[i] - position[near.at(-1)] + 2;
  view.zoom = Math.min(ZOOM_FRAME[1], Math.max(ZOOM_FRAME[0], plotWidth() / 2 / span));
  centre(i);
};
/** Scrolls as little as possible until a lane is visible. */
const reveal = (lane) => {
  if (isPinned(lane)) return;
  const top = yOf(lane) - MIDDLE, bottom = top + heights[lane], edge = AXIS + pinnedHeight;
  if (top < edge) view.scroll -= edge - top;
  else if (bottom > view.height) view.scroll += bottom - view.height;
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

