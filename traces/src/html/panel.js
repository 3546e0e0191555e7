// ---- panel: details, search, filter -----------------------------------------------------------------

/** Makes an element; strings among the children are text, so nothing in a trace can be markup. */
const make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== 'ariaCurrent') element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};
const picture = (box, ...shapes) => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', box);
  svg.setAttribute('aria-hidden', 'true');
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    svg.append(shape);
  }
  return svg;
};
const markOf = (number) => {
  const [name, path] = trace.kinds[number];
  const svg = picture('-6.5 -6.5 13 13', ['path', { d: path, fill: `var(--${name})` }]);
  svg.classList.add('mark');
  return svg;
};

/** What was violated, without its name where the sentence begins with that. */
const sentence = trace.guilt?.sentence.replace(new RegExp(`^${trace.guilt.property.replace(/\W/g, '\\$&')}: `, 'i'), '') ?? '';

// ---- details ----

const recordButton = (i, why = '') => {
  const what = make('span', { className: 'what' });
  if (why) what.append(make('span', { className: 'why' }, why));
  what.append(text(i));
  const button = make('button', { className: 'record', title: line(i), 'data-at': String(i) },
    markOf(kind[i]), make('span', { className: 'who' }, whoOf(i)), what);
  if (i === view.selected) button.setAttribute('aria-current', 'true');
  if (i === guilty) button.classList.add('accused');
  return make('li', {}, button);
};
const section = (title, items) => (items.length ? [make('h3', {}, title), make('ol', {}, ...items)] : []);
const AROUND = 7;

const showDetails = () => {
  const panel = $('details');
  panel.replaceChildren();
  const i = view.selected;
  if (i < 0) return showSummary(panel);
  const why = (arrow) => trace.whys[arrows.why[arrow]][0];
  panel.append(make('h2', {}, line(i)));
  const facts = [
    ['Record', `${i} of ${count - 1}`], ['Time', micros(time[i])],
    ['Thread', threadName(trace.thread[i])], ['Goroutine', goroutineOf(i) === '-' ? 'none' : goroutineOf(i)],
    ['Kind', trace.kinds[kind[i]][0]],
  ];
  panel.append(make('dl', {}, ...facts.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])));
  if (i === guilty) panel.append(make('p', { className: 'accused' }, `✕ ${trace.guilt.property}: ${sentence}`));
  const into = arrowsInto(i);
  // A single reason is told once: the story goes on from there.
  const story = storyOf(i, 14).slice(into.length === 1 ? 2 : 1);
  panel.append(...section('Because of', into.map((a) => recordButton(arrows.from[a], `${why(a)}:`))));
  panel.append(...section('Led to', arrowsOutOf(i).slice(0, 40).map((a) => recordButton(arrows.to[a], `${why(a)}:`))));
  panel.append(...section('How it came about, latest first', story.map((of) => recordButton(of))));
  const from = Math.max(0, i - AROUND), to = Math.min(count - 1, i + AROUND);
  const around = Array.from({ length: to - from + 1 }, (_, place) => recordButton(from + place));
  panel.append(...section('Around it', around));
};

const showSummary = (panel) => {
  const gs = goroutines.length, named = trace.threads.length;
  panel.append(make('h2', {}, 'Nothing selected'),
    make('p', {}, 'Click a mark, or focus the diagram and use the arrow keys. Press ? for all keys.'),
    make('dl', {}, ...[
      ['Records', count.toLocaleString('en')], ['Not kept', trace.dropped ? trace.dropped.toLocaleString('en') : ''],
      ['Threads', String(named)], ['Goroutines', gs.toLocaleString('en')],
      ['From', count ? micros(time[0]) : ''], ['To', count ? micros(time[count - 1]) : ''],
    ].filter(([, value]) => value).flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])));
};

$('details').addEventListener('click', (event) => {
  const button = event.target.closest('[data-at]');
  if (!button) return;
  select(Number(button.dataset.at), 'show');
  // The list is new: whoever came here by keyboard goes on from the record they chose.
  $('details').querySelector('[aria-current]')?.focus({ preventScroll: true });
});

/** Selects a record (-1: none); `how` says whether the view has to move to it. */
const select = (i, how = '') => {
  view.selected = i;
  view.story = new Set(i >= 0 ? storyOf(i) : []);
  keepLanes();
  if (i >= 0) {
    view.shown[kind[i]] || toggleKind(kind[i]);
    if (how === 'frame') frame(i);
    else if (how === 'centre') centre(i);
    else {
      chooseRows();
      reveal(laneOf[i]);
      if (how === 'show' && !isOnScreen(i)) centre(i);
    }
    say(line(i) + (i === guilty ? `. Failing record: ${trace.guilt.property}` : ''));
  }
  showDetails();
  redraw();
};
const say = (words) => { $('said').textContent = words; };

// ---- search ----

const search = (query) => {
  const wanted = query.trim().toLowerCase();
  const found = [];
  if (wanted) {
    const lines = searchable();
    for (let i = 0; i < count; i++) if (view.shown[kind[i]] && lines[i].includes(wanted)) found.push(i);
  }
  view.matches = Uint32Array.from(found);
  view.isMatch = new Set(found);
  view.match = -1;
  showHits(wanted);
  redraw();
};
const showHits = (wanted) => {
  const all = view.matches.length.toLocaleString('en');
  $('hits').textContent = !wanted ? '' : view.match < 0 ? all : `${(view.match + 1).toLocaleString('en')}/${all}`;
  $('next').disabled = $('previous').disabled = !view.matches.length;
};
/** Goes to the next match after what is selected or visible, or to the one before. */
const step = (direction) => {
  const matches = view.matches;
  if (!matches.length) return;
  const at = view.selected >= 0 ? view.selected : visible()[0];
  const place = lowerBound(matches, at);
  const next = direction > 0 ? place + (matches[place] === at ? 1 : 0) : place - 1;
  view.match = (next + matches.length) % matches.length;
  select(matches[view.match], 'show');
  showHits(true);
};
let typing = 0;
$('query').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => search($('query').value), 120);
});
$('query').addEventListener('keydown', (event) => {
  if (event.key === 'Enter') {
    clearTimeout(typing);
    if (view.match < 0) search($('query').value);
    step(event.shiftKey ? -1 : 1);
  } else if (event.key === 'Escape') {
    $('query').value = '';
    search('');
    plot.focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
});
$('next').onclick = () => step(1);
$('previous').onclick = () => step(-1);

// ---- filter ----

const perKind = new Uint32Array(trace.kinds.length);
for (const number of kind) perKind[number]++;
const kindButtons = trace.kinds.map(([name], number) => {
  const counted = make('span', { className: 'count' }, perKind[number].toLocaleString('en'));
  const properties = { title: `Show or hide (${number + 1})`, onclick: () => toggleKind(number) };
  const button = make('button', properties, markOf(number), name, counted);
  button.setAttribute('aria-pressed', 'true');
  $('kinds').append(button);
  return button;
});
const toggleKind = (number) => {
  view.shown[number] = !view.shown[number];
  kindButtons[number].setAttribute('aria-pressed', String(view.shown[number]));
  say(`${trace.kinds[number][0]} ${view.shown[number] ? 'shown' : 'hidden'}`);
  if ($('query').value) search($('query').value);
  drawMapBase();
  redraw();
};

// ---- legend ----

{
  const rect = (y, height, fill) => ['rect', { x: 2, y, width: 60, height, fill }];
  const dashed = (pattern, colour, width) =>
    ['line', { x1: 2, y1: 7, x2: 62, y2: 7, stroke: colour, 'stroke-width': width, 'stroke-dasharray': pattern }];
  const lines = { wakeup: 'makes runnable or wakes', io: 'from the kernel to a slot', time: 'timers', life: 'begins or ends' };
  const entries = [
    [[rect(3, 8, 'var(--thread-0)')], 'runs; one colour for a thread and what it runs'],
    [[dashed('3 3', 'var(--edge)', 3)], 'runnable, waits for a worker'],
    [[rect(6, 2, 'var(--edge)')], 'parked, on what is written above'],
    [[dashed('1.5 3.5', 'var(--edge)', 3)], 'a worker that spins, polls or sleeps'],
    [[['rect', { x: 2, y: 1.5, width: 60, height: 11, fill: 'none', stroke: 'var(--edge)' }]], 'a thread that cannot go on'],
    ...trace.lines.map(([name, pattern]) => [[dashed(pattern.join(' '), `var(--line-${name})`, 2)], `arrow: ${lines[name]}`]),
  ];
  for (const [shapes, words] of entries) $('legend').append(picture('0 0 64 14', ...shapes), make('span', {}, words));
}

