// ---- selfcheck: opened with #selfcheck, the page tests itself ---------------------------------------

/**
 * Runs before the page has loaded, in one go, and leaves its verdict in the root element, so that a
 * browser that only prints the document afterwards has it. Reading a pixel back after each drawing makes
 * sure that the time is that of the whole drawing.
 */
const selfcheck = () => {
  const complaints = [];
  const expect = (holds, words) => { if (!holds) complaints.push(words); };
  /** How long each drawing took, and after what. */
  const times = [];
  const paint = (after) => {
    const begin = performance.now();
    draw();
    context.getImageData(0, 0, 1, 1);
    times.push([performance.now() - begin, after]);
  };
  /** Whether the pixel in the middle of a record's mark has the colour of its kind. */
  const isDrawn = (i) => {
    const [x, y] = [xOf(i), yOf(laneOf[i])].map((place) => Math.round(place * devicePixelRatio));
    const pixel = context.getImageData(x, y, 1, 1).data;
    const colour = colours[trace.kinds[kind[i]][0]];
    return [1, 3, 5].every((place, channel) => Math.abs(parseInt(colour.slice(place, place + 2), 16) - pixel[channel]) < 32);
  };
  const ready = performance.now();
  paint('opening');
  if (trace.guilt) {
    expect(!$('guilt').hidden && trace.guilt.sentence.includes($('sentence').textContent), 'no banner tells of the violation');
  }
  if (guilty >= 0) {
    expect(view.selected === guilty, 'the failing record is not selected');
    expect(isOnScreen(guilty), 'the failing record is not on the screen');
    const isCentred = Math.abs(xOf(guilty) - middle()) < plotWidth() / 3;
    expect(isCentred || extent() * view.zoom < plotWidth() * 2, 'the failing record is not in the middle');
    expect($('details').textContent.includes(text(guilty)), 'the details are not those of the failing record');
    expect(isDrawn(guilty), 'the mark of the failing record is not drawn');
  }
  // Everything that a reader does, on both scales.
  const begin = performance.now();
  for (const byTime of [false, true]) {
    if (view.byTime !== byTime) switchScale();
    view.zoom = 0;
    clampView(); chooseRows(); paint('showing all');
    while (view.zoom < ZOOM_MAX) { zoomAt(GUTTER + plotWidth() * 0.6, 1.7); chooseRows(); paint('zooming'); }
    for (let i = 0; i < 12; i++) { pan(plotWidth() * 0.4, 11); chooseRows(); paint('panning'); }
    switchRows(); paint('showing all rows'); switchRows(); paint('showing active rows');
  }
  switchScale();
  for (const theme of ['dark', 'light', 'system']) { setTheme(theme); paint(`choosing ${theme}`); }
  for (let i = 0; i < count; i += Math.max(1, count >> 6)) {
    select(i, 'centre'); paint('selecting');
    expect(isOnScreen(i), `record ${i} is selected and not on the screen`);
    expect(isDrawn(i), `record ${i} is selected and its mark is not drawn`);
    expect(recordAt(xOf(i), yOf(laneOf[i])) >= 0, `record ${i} cannot be clicked`);
  }
  if (count) {
    const last = text(count - 1);
    search(last);
    expect(view.matches.includes(count - 1), `a search for "${last}" does not find it`);
    step(1); paint('searching'); search('');
  }
  toggleKind(0); paint('filtering'); toggleKind(0);
  for (const [key, action] of Object.entries(keys)) if (!'?/'.includes(key)) { action(); paint(`key ${key}`); }
  const took = performance.now() - begin;
  times.sort(([a], [b]) => a - b);
  const [usual] = times[times.length >> 1], [slowest, worst] = times.at(-1);
  // Generous, because it is the processor that draws here, on machines that are busy with other things.
  expect(usual < 50, `a frame usually takes ${usual.toFixed(1)} ms`);
  expect(slowest < 1000, `a frame took ${slowest.toFixed(0)} ms after ${worst}`);
  complaints.push(...window.errors);
  const root = document.documentElement;
  root.dataset.selfcheck = complaints.length ? `failed: ${complaints.join('; ')}` : 'passed';
  root.dataset.figures = `${count} records, ready after ${ready.toFixed(0)} ms, ${times.length} frames: ` +
    `median ${usual.toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms (${worst}), all ${took.toFixed(0)} ms`;
};
if (location.hash === '#selfcheck') {
  try {
    selfcheck();
  } catch (error) {
    document.documentElement.dataset.selfcheck = `failed: ${error.stack}`;
  }
}
