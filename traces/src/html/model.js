// ---- model: the trace, unpacked ---------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
const trace = JSON.parse($('trace').textContent);
const count = trace.event.length;

/** Running sums: undoes the differences that keep the numbers short. */
const sums = (differences, Type) => {
  const numbers = new Type(differences.length);
  let sum = 0;
  for (let i = 0; i < numbers.length; i++) numbers[i] = sum += differences[i];
  return numbers;
};

/** By record: virtual time in nanoseconds, kind, thread, lane, the record that explains it (-1: none). */
const time = sums(trace.time, Float64Array);
const kind = Uint8Array.from(trace.kind);
const laneOf = Uint32Array.from(trace.lane);
const reason = Int32Array.from(trace.reason, (back, i) => (back ? i - back : -1));
const guilty = trace.guilt?.at ?? -1;

const KERNEL = 65535;
const threadName = (number) => (number === KERNEL ? 'kernel' : trace.threads[number] ?? '?');

const doings = trace.doings.map(([style, colour, label]) => ({ style, colour, label }));
const RUNS = 0, PHASE = 1, BLOCKED = 2, RUNNABLE = 3, PARKED = 4;

/** Stretches as triples: first record, last record, doing. */
const unpackStretches = (packed) => {
  const triples = new Uint32Array(packed.length);
  let from = 0;
  for (let i = 0; i < packed.length; i += 3) {
    from += packed[i];
    triples.set([from, from + packed[i + 1], packed[i + 2]], i);
  }
  return triples;
};

const lanes = trace.lanes.map(([name, sort, from, to, stretches, blocks], index) => ({
  index, name, isGoroutine: sort === 2, isKernel: sort === 0, from, to,
  stretches: unpackStretches(stretches), blocks: unpackStretches(blocks), records: null,
}));
{
  const sizes = new Uint32Array(lanes.length);
  for (const lane of laneOf) sizes[lane]++;
  lanes.forEach((lane) => { lane.records = new Uint32Array(sizes[lane.index]); });
  sizes.fill(0);
  laneOf.forEach((lane, i) => { lanes[lane].records[sizes[lane]++] = i; });
}

/** Arrows, by the record where they end; and their numbers by the record where they begin. */
const arrows = { to: sums(trace.arrows[0], Uint32Array), from: null, why: Uint8Array.from(trace.arrows[2]) };
arrows.from = Uint32Array.from(trace.arrows[1], (length, i) => arrows.to[i] - length);
arrows.bySource = Uint32Array.from(arrows.from.keys()).sort((a, b) => arrows.from[a] - arrows.from[b] || a - b);
arrows.sources = arrows.bySource.map((arrow) => arrows.from[arrow]);

/** The first place in an ascending array whose value is not below `value`. */
const lowerBound = (array, value) => {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
};

const arrowsInto = (i) => {
  const found = [];
  for (let a = lowerBound(arrows.to, i); arrows.to[a] === i; a++) found.push(a);
  return found;
};
const arrowsOutOf = (i) => {
  const found = [];
  for (let a = lowerBound(arrows.sources, i); arrows.sources[a] === i; a++) found.push(arrows.bySource[a]);
  return found;
};

/** The story of a record: itself, its reason, the reason of that, and so on. */
const storyOf = (i, most = 24) => {
  const story = [];
  for (; i >= 0 && story.length < most; i = reason[i]) story.push(i);
  return story;
};

/** Nanoseconds as the traces print them: 1019.2µs. */
const micros = (ns) => {
  const rest = ns % 1000;
  const decimals = rest ? `.${String(rest).padStart(3, '0').replace(/0+$/, '')}` : '';
  return `${Math.floor(ns / 1000)}${decimals}µs`;
};

const text = (i) => trace.texts[trace.event[i]];
const goroutineOf = (i) => (lanes[laneOf[i]].isGoroutine ? lanes[laneOf[i]].name : '-');
const whoOf = (i) => {
  const thread = threadName(trace.thread[i]);
  return lanes[laneOf[i]].isGoroutine ? `${thread} ${goroutineOf(i)}` : thread;
};
/** A record as a line, the way the text rendering has it. */
const line = (i) => `t=${micros(time[i])} ${threadName(trace.thread[i])} ${goroutineOf(i)} ${text(i)}`;

/** Lines in lower case, made when a search first needs them. */
let lowerLines = null;
const searchable = () => (lowerLines ??= Array.from({ length: count }, (_, i) => line(i).toLowerCase()));

