// ---- minimap: the whole run, and where one is -------------------------------------------------------

const map = $('map');
const mapContext = map.getContext('2d');
/** What does not change with the view, drawn once. */
const mapBase = document.createElement('canvas');
const MAP_PAD = 10;

const mapScale = () => (map.clientWidth - 2 * MAP_PAD) / Math.max(1, extent());
const mapX = (i) => MAP_PAD + position[i] * mapScale();

const drawMapBase = () => {
  const ratio = devicePixelRatio || 1;
  const width = map.clientWidth, height = map.clientHeight;
  for (const canvas of [map, mapBase]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const ctx = mapBase.getContext('2d');
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = colours.panel;
  ctx.fillRect(0, 0, width, height);
  if (!count) return;
  // Which thread runs a goroutine, a thin line each; below, what came from outside.
  const busy = pinned.filter((lane) => lane.stretches.length);
  const thick = Math.max(1, Math.min(6, Math.floor(24 / Math.max(1, busy.length)) - 1));
  busy.forEach((lane, row) => {
    const y = 8 + row * (thick + 1);
    let drawn = -1;
    for (let place = 0; place < lane.stretches.length; place += 3) {
      const doing = doings[lane.stretches[place + 2]];
      if (doing.style !== RUNS) continue;
      const from = mapX(lane.stretches[place]), to = mapX(Math.min(count - 1, lane.stretches[place + 1]));
      if (to - from < 1 && Math.floor(from) === drawn) continue;
      drawn = Math.floor(from);
      ctx.fillStyle = colours[`thread-${doing.colour}`];
      ctx.fillRect(from, y, Math.max(1, to - from), thick);
    }
  });
  drawDensity(ctx, height);
};

/** The kinds that come from outside, where they are: a strip each, the denser the stronger. */
const STRIPS = ['kernel', 'timer', 'fault'];
const drawDensity = (ctx, height) => {
  STRIPS.forEach((name, strip) => {
    const number = trace.kinds.findIndex(([of]) => of === name);
    if (!view.shown[number]) return;
    const columns = new Uint32Array(Math.ceil(map.clientWidth) + 1);
    for (let i = 0; i < count; i++) if (kind[i] === number) columns[Math.floor(mapX(i))]++;
    const most = columns.reduce((a, b) => Math.max(a, b), 1);
    ctx.fillStyle = colours[name];
    columns.forEach((records, x) => {
      if (!records) return;
      ctx.globalAlpha = 0.35 + (0.65 * records) / most;
      ctx.fillRect(x, height - 29 + 8 * strip, 1.5, 6);
    });
  });
  ctx.globalAlpha = 1;
};

const drawMap = () => {
  const ratio = devicePixelRatio || 1;
  const ctx = mapContext, width = map.clientWidth, height = map.clientHeight;
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.drawImage(mapBase, 0, 0);
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!count) return;
  ctx.fillStyle = colours.found;
  let drawn = -1;
  for (const i of view.matches) {
    const x = Math.floor(mapX(i));
    if (x !== drawn) ctx.fillRect(x - 0.5, 0, 2, 7);
    drawn = x;
  }
  const from = Math.max(1, MAP_PAD + view.left * mapScale());
  const wide = Math.min(width - 1 - from, Math.max(4, (plotWidth() / view.zoom) * mapScale()));
  ctx.globalAlpha = 0.14;
  ctx.fillStyle = colours.accent;
  ctx.fillRect(from, 1, wide, height - 2);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colours.accent;
  ctx.lineWidth = 2;
  ctx.strokeRect(from, 1, wide, height - 2);
  const pin = (i, colour) => {
    if (i < 0) return;
    ctx.fillStyle = colour;
    ctx.fillRect(mapX(i) - 1, 0, 2, height);
    ctx.beginPath();
    ctx.moveTo(mapX(i) - 6, 0);
    ctx.lineTo(mapX(i) + 6, 0);
    ctx.lineTo(mapX(i), 8);
    ctx.fill();
  };
  pin(view.selected, colours.accent);
  pin(guilty, colours.guilt);
};

/** Moves the view to where the pointer is on the map. */
const travel = (event) => {
  const place = (event.offsetX - MAP_PAD) / mapScale();
  view.left = place - plotWidth() / view.zoom / 2;
  moved();
};
map.addEventListener('pointerdown', (event) => {
  map.setPointerCapture(event.pointerId);
  travel(event);
});
map.addEventListener('pointermove', (event) => { if (event.buttons & 1) travel(event); });
map.addEventListener('wheel', (event) => {
  event.preventDefault();
  zoomAt(GUTTER + plotWidth() / 2, Math.exp(-event.deltaY * 0.0018));
}, { passive: false });

