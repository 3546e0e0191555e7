// ---- arrows -----------------------------------------------------------------------------------------

/** More than these and the diagram is a thicket: then only the selected story has arrows. */
const ARROWS_MAX = 700;
const MARK = 5.2;

const lineOf = (arrow) => trace.whys[arrows.why[arrow]][1];
/** Whether it tells why the selected record happened, or what followed from it at once. */
const isStory = (arrow) => {
  const from = arrows.from[arrow], to = arrows.to[arrow];
  return from === view.selected || (view.story.has(from) && view.story.has(to) && reason[to] === from);
};

/** Arrows with an end in view, by number. One that only passes over the view tells nothing there. */
const arrowsInView = (first, last) => {
  const found = [];
  const end = lowerBound(arrows.to, last + 1);
  for (let a = lowerBound(arrows.to, first); a < end; a++) found.push(a);
  const outEnd = lowerBound(arrows.sources, last + 1);
  for (let a = lowerBound(arrows.sources, first); a < outEnd; a++) {
    if (arrows.to[arrows.bySource[a]] > last) found.push(arrows.bySource[a]);
  }
  return found;
};

/** The height of a lane that an arrow may lead to: at the edge when its row is scrolled away. */
const endY = (lane) => {
  const y = yOf(lane);
  if (isPinned(lane)) return y;
  if (Number.isNaN(y)) return view.height + IDLE;
  return Math.max(AXIS + pinnedHeight - IDLE, Math.min(view.height + IDLE, y));
};

const drawArrow = (ctx, arrow) => {
  const from = arrows.from[arrow], to = arrows.to[arrow];
  const x1 = xOf(from), x2 = xOf(to), y1 = endY(laneOf[from]), y2 = endY(laneOf[to]);
  const dx = x2 - x1, dy = y2 - y1;
  let bend1x, bend1y, bend2x, bend2y;
  if (Math.abs(dy) < 1) {
    // Within a row: a low bow between the marks and the captions above them.
    const rise = Math.min(11, 9 + dx * 0.01);
    [bend1x, bend1y, bend2x, bend2y] = [x1 + dx * 0.15, y1 - rise, x2 - dx * 0.15 - 6, y2 - rise];
  } else {
    const reach = Math.min(dx * 0.55, 60);
    [bend1x, bend1y, bend2x, bend2y] = [x1 + reach, y1 + dy * 0.1, x2 - reach, y2 - dy * 0.1];
  }
  // The head stands clear of the mark's rim, along the last piece of the curve; between neighbours it is small.
  const size = Math.min(8, 4 + Math.hypot(dx, dy) * 0.08);
  const angle = Math.atan2(y2 - bend2y, x2 - bend2x), cos = Math.cos(angle), sin = Math.sin(angle);
  const tipX = x2 - cos * (MARK + 2.3), tipY = y2 - sin * (MARK + 2.3);
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.bezierCurveTo(bend1x, bend1y, bend2x, bend2y, tipX - cos * size * 0.75, tipY - sin * size * 0.75);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(tipX, tipY);
  ctx.lineTo(tipX - Math.cos(angle - 0.42) * size, tipY - Math.sin(angle - 0.42) * size);
  ctx.lineTo(tipX - Math.cos(angle + 0.42) * size, tipY - Math.sin(angle + 0.42) * size);
  ctx.fill();
};

const drawArrows = (ctx, first, last) => {
  const isDetailed = view.zoom >= MARKS;
  const inView = isDetailed ? arrowsInView(first, last) : [];
  const isThicket = inView.length > ARROWS_MAX;
  const story = [], others = [];
  for (const arrow of inView) {
    if (isStory(arrow)) story.push(arrow);
    else if (!isThicket && view.shown[kind[arrows.from[arrow]]] && view.shown[kind[arrows.to[arrow]]]) others.push(arrow);
  }
  ctx.lineWidth = 1.25;
  ctx.globalAlpha = view.story.size > 1 ? 0.28 : 0.75;
  for (const arrow of others) styleArrow(ctx, arrow);
  ctx.globalAlpha = 1;
  ctx.lineWidth = 2.25;
  for (const arrow of isDetailed ? story : storyArrows()) styleArrow(ctx, arrow);
  ctx.setLineDash([]);
};

/** The arrows of the selected story, whether they are in view or not. */
const storyArrows = () => [...view.story].flatMap((i) => arrowsInto(i).filter(isStory)).concat(arrowsOutOf(view.selected));

const styleArrow = (ctx, arrow) => {
  const [name, dashes] = trace.lines[lineOf(arrow)];
  ctx.strokeStyle = ctx.fillStyle = colours[`line-${name}`];
  ctx.setLineDash(dashes);
  drawArrow(ctx, arrow);
};

