'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('data').textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const cluster = new Int32Array(bytes(data.cluster).buffer);
  const confidence = Float32Array.from(new Uint16Array(bytes(data.confidence).buffer), (x) => x / 65535);
  const second = new Int32Array(bytes(data.second).buffer);
  const secondConfidence = Float32Array.from(
    new Uint16Array(bytes(data.second_confidence).buffer), (x) => x / 65535);
  const stability = bytes(data.stability);
  const flags = bytes(data.flags);
  const thumb = new Int32Array(bytes(data.thumb).buffer);
  const count = data.names.length;

  // What others wrote, such as names of files, becomes text and attributes, never markup.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function picture(i, alt) {
    if (thumb[i] < 0) return null;
    return make('img', { src: `data:${data.media_type};base64,${data.thumbs[thumb[i]]}`, alt });
  }

  // Names: clusters of the same name are one; a cluster may be dropped.
  const firstNames = data.names.map((name, k) => name || String(k));
  const firstDropped = data.names.map((name) => !name);
  let names = firstNames.slice();
  let dropped = firstDropped.slice();
  const memory = `cdc_mm names ${data.report}`;
  try {
    const kept = JSON.parse(localStorage.getItem(memory));
    if (kept && kept.names.length === count && kept.dropped.length === count) {
      names = kept.names.map(String);
      dropped = kept.dropped.map(Boolean);
    }
  } catch { /* Without a memory the page forgets on reload. */ }

  // Those that a person gave none are called by their numbers.
  const title = (k) => (/^\d+$/.test(names[k]) ? `Cluster ${names[k]}` : names[k]);
  const changed = () => names.some((name, k) => name !== firstNames[k])
    || dropped.some((is, k) => is !== firstDropped[k]);
  const cards = [...document.querySelectorAll('.card')];
  const labels = [...document.querySelectorAll('[data-name]')];

  function groups() {
    const found = new Map();
    names.forEach((name, k) => {
      if (!dropped[k]) found.set(name, [...(found.get(name) || []), k]);
    });
    return found;
  }

  function namesFile() {
    return `${JSON.stringify({
      format: data.format,
      report: data.report,
      num_clusters: count,
      names: names.map((name, k) => (dropped[k] ? null : name)),
    }, null, 1)}\n`;
  }

  function showNames() {
    const found = groups();
    for (const label of labels) label.textContent = title(Number(label.dataset.name));
    cards.forEach((card, k) => {
      const others = dropped[k] ? [] : found.get(names[k]).filter((other) => other !== k);
      const state = card.querySelector('.state');
      state.textContent = dropped[k] ? 'Dropped' : others.length
        ? `Merged with cluster ${others.slice(0, 8).join(', ')}${others.length > 8 ? ' …' : ''}` : '';
      state.hidden = !state.textContent;
      card.classList.toggle('dropped', dropped[k]);
      card.querySelector('.name').value = names[k] === String(k) ? '' : names[k];
      card.querySelector('.name').disabled = dropped[k];
      card.querySelector('.merge').disabled = dropped[k];
      card.querySelector('.merge').textContent = others.length ? 'Split off' : 'Merge…';
      card.querySelector('.merge').setAttribute('aria-label', others.length
        ? `Split cluster ${k} off` : `Merge cluster ${k} with another`);
      card.querySelector('.drop').setAttribute('aria-pressed', dropped[k]);
    });
    for (const option of document.querySelectorAll('#only option')) {
      if (option.value >= 0) option.textContent = title(Number(option.value));
    }
    const renamed = [...found.keys()].filter((name) => !firstNames.includes(name)).length;
    const merged = [...found.values()].reduce((sum, group) => sum + group.length - 1, 0);
    const gone = dropped.filter(Boolean).length;
    byId('changes-text').textContent = [[renamed, 'renamed'], [merged, 'merged'], [gone, 'dropped']]
      .filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(', ');
    byId('changes').hidden = !changed();
    try {
      if (changed()) localStorage.setItem(memory, JSON.stringify({ names, dropped }));
      else localStorage.removeItem(memory);
    } catch { /* See above. */ }
  }

  function splitOff(k) {
    names[k] = firstNames[k];
    for (let i = 2; names.some((name, j) => j !== k && name === names[k]); i += 1) {
      names[k] = `${k} (${i})`;
    }
    showNames();
  }

  function rename(k, text) {
    const name = text.trim();
    const before = names[k];
    if (!name) {
      splitOff(k);
      return;
    }
    // Those that are one already stay so.
    names = names.map((other, j) => (j === k || (other === before && !dropped[j]) ? name : other));
    showNames();
  }

  let merging = -1;
  function askMerge(k) {
    merging = k;
    byId('merge-title').textContent = title(k);
    byId('merge-with').replaceChildren(...names.flatMap((_, j) => (
      j === k || dropped[j] ? [] : [make('option', { value: j }, title(j))])));
    byId('merge-ok').disabled = !byId('merge-with').options.length;
    byId('merge').showModal();
  }
  byId('merge-cancel').addEventListener('click', () => byId('merge').close());
  byId('merge-ok').addEventListener('click', () => {
    byId('merge').close();
    rename(merging, names[Number(byId('merge-with').value)]);
  });

  cards.forEach((card, k) => {
    card.querySelector('.name').addEventListener('change', (event) => rename(k, event.target.value));
    card.querySelector('.merge').addEventListener('click', (event) => {
      if (event.target.textContent === 'Merge…') askMerge(k); else splitOff(k);
    });
    card.querySelector('.drop').addEventListener('click', () => {
      dropped[k] = !dropped[k];
      showNames();
    });
  });
  byId('reset').addEventListener('click', () => {
    names = firstNames.slice();
    dropped = firstDropped.slice();
    showNames();
  });
  byId('download').addEventListener('click', () => {
    const address = URL.createObjectURL(new Blob([namesFile()], { type: 'application/json' }));
    make('a', { href: address, download: 'names.json' }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });

  // One image: picture, path, figures.
  function describe(i) {
    const facts = [
      ['Cluster', title(cluster[i])],
      ['Confidence', confidence[i].toFixed(2)],
    ];
    if (second[i] >= 0) facts.push(['Second', `${title(second[i])}, ${secondConfidence[i].toFixed(2)}`]);
    if (stability[i] !== 255) facts.push(['Stability', (stability[i] / 100).toFixed(2)]);
    if (flags[i] & 1) facts.push(['Outlier', 'yes']);
    if (flags[i] & 2) facts.push(['Duplicate', 'of an image before it']);
    if (flags[i] & 4) facts.push(['Near duplicate', 'of an image before it']);
    return [
      picture(i, '') || make('p', { class: 'none' }, 'No picture of it in this file.'),
      make('span', { class: 'path' }, data.paths[i]),
      make('dl', {}, ...facts.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])),
    ];
  }

  byId('image-close').addEventListener('click', () => byId('image').close());
  function openImage(i) {
    byId('image').querySelector('.details').replaceChildren(...describe(i));
    byId('image').showModal();
  }

  // A row of images, of which one is reached by Tab, the others by the arrow keys.
  function makeStrip(images, name, columns, figure, before) {
    const buttons = images.map((i, place) => {
      const button = make('button', {
        type: 'button',
        tabindex: place ? -1 : 0,
        title: `${data.paths[i]} (${figure(i).toFixed(2)})`,
        'aria-label': `${data.paths[i]}, ${before}${figure(i).toFixed(2)}`,
      }, picture(i, '') || '?');
      button.addEventListener('click', () => openImage(i));
      return button;
    });
    const strip = make('div', { class: 'strip', role: 'group', 'aria-label': name }, ...buttons);
    strip.addEventListener('keydown', (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
      const next = buttons[buttons.indexOf(document.activeElement) + (steps[event.key] || 0)];
      if (!steps[event.key] || !next) return;
      event.preventDefault();
      buttons.forEach((button) => { button.tabIndex = button === next ? 0 : -1; });
      next.focus();
    });
    strip.style.setProperty('--columns', columns);
    return strip;
  }

  // The images of a card.
  const kinds = ['Most typical', 'Least certain', 'Nearest misses'];
  const few = data.counts.reduce((sum, number) => sum + number) <= 8;
  function fillCard(card) {
    const k = Number(card.dataset.cluster);
    const parts = data.cards[k].flatMap((images, kind) => {
      if (!images.length && !few) return [];
      const columns = few ? data.counts[kind] : 6;
      const [figure, before] = kind === 2 ? [(i) => secondConfidence[i], 'here '] : [(i) => confidence[i], ''];
      const strip = makeStrip(images, kinds[kind], columns, figure, before);
      return [make('div', {}, make('h4', {}, kinds[kind]), strip)];
    });
    const strips = card.querySelector('.strips');
    if (few) strips.style.gridTemplateColumns = data.counts.map((number) => `${number}fr`).join(' ');
    const empty = !data.cards[k].some((images) => images.length);
    strips.replaceChildren(...(empty ? [make('p', { class: 'none' }, 'No images.')] : parts));
  }
  cards.forEach(fillCard);
  for (const group of document.querySelectorAll('.copy')) {
    const name = group.querySelector('h3');
    name.after(makeStrip(data.copies[group.dataset.group], name.textContent, 6, (i) => confidence[i], ''));
  }

  // The map.
  function startMap(canvas) {
    const x = Float32Array.from(new Uint16Array(bytes(data.x).buffer), (value) => value / 65535);
    const y = Float32Array.from(new Uint16Array(bytes(data.y).buffer), (value) => value / 65535);
    // Both are centred; one scale for both, so that distances stay what they are.
    const spread = (values) => values.reduce((most, value) => Math.max(most, Math.abs(2 * value - 1)), 1e-3);
    const only = byId('only');
    const below = byId('below');
    only.append(...names.map((_, k) => make('option', { value: k }, title(k))));
    let matching = [];
    let selected = -1;
    let place = () => [0, 0];
    // No cluster is always above the others.
    const order = [...x.keys()].map((i) => [(i * 2654435761) % 4294967296, i])
      .sort((one, other) => one[0] - other[0]).map((pair) => pair[1]);

    function draw() {
      const style = getComputedStyle(document.documentElement);
      const color = (name) => style.getPropertyValue(name).trim();
      const colors = Array.from({ length: 20 }, (_, k) => color(`--c${k}`));
      const ratio = devicePixelRatio || 1;
      const { clientWidth: width, clientHeight: height } = canvas;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const pen = canvas.getContext('2d');
      pen.scale(ratio, ratio);
      const edge = 14;
      const scale = Math.min((width - 2 * edge) / spread(x), (height - 2 * edge) / spread(y));
      place = (i) => [width / 2 + (x[i] - 0.5) * scale, height / 2 - (y[i] - 0.5) * scale];
      const radius = Math.min(5, Math.max(1.5, Math.sqrt(width * height / x.length) / 7));
      const shown = new Set(matching);
      for (const match of [false, true]) {
        for (const i of order) {
          if (shown.has(i) === match) {
            pen.fillStyle = match ? colors[cluster[i] % 20] : color('--faint');
            pen.globalAlpha = match ? 0.85 : 0.6;
            pen.beginPath();
            pen.arc(...place(i), radius, 0, 2 * Math.PI);
            pen.fill();
          }
        }
      }
      pen.globalAlpha = 1;
      if (selected >= 0) {
        pen.beginPath();
        pen.arc(...place(selected), radius + 5, 0, 2 * Math.PI);
        pen.lineWidth = 2.5;
        pen.strokeStyle = color('--mark');
        pen.stroke();
      }
    }

    function select(i) {
      if (i === selected) return;
      selected = i;
      byId('details').replaceChildren(...(i < 0 ? [] : describe(i)));
      requestAnimationFrame(draw);
    }

    function filter() {
      const chosen = Number(only.value);
      const most = Number(below.value);
      byId('below-value').textContent = most.toFixed(2);
      matching = order.filter((i) => (chosen < 0 || cluster[i] === chosen) && (most >= 1 || confidence[i] <= most));
      byId('matching').textContent = `${matching.length.toLocaleString('en')} of ${x.length.toLocaleString('en')} on the map`;
      select(-1);
      requestAnimationFrame(draw);
    }

    function nearest(event) {
      const box = canvas.getBoundingClientRect();
      const [left, top] = [event.clientX - box.left, event.clientY - box.top];
      let [best, least] = [-1, 28 ** 2];
      for (const i of matching) {
        const [px, py] = place(i);
        const distance = (px - left) ** 2 + (py - top) ** 2;
        if (distance < least) [best, least] = [i, distance];
      }
      return best;
    }
    for (const kind of ['pointermove', 'pointerdown']) {
      canvas.addEventListener(kind, (event) => {
        const i = nearest(event);
        if (i >= 0) select(i);
      });
    }

    canvas.addEventListener('keydown', (event) => {
      const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
      const way = ways[event.key];
      if (!way || !matching.length) return;
      event.preventDefault();
      if (selected < 0) {
        select(matching[0]);
        return;
      }
      const [sx, sy] = place(selected);
      let [best, least] = [-1, Infinity];
      for (const i of matching) {
        const [px, py] = place(i);
        const along = (px - sx) * way[0] + (py - sy) * way[1];
        const aside = Math.abs((px - sx) * way[1]) + Math.abs((py - sy) * way[0]);
        const cost = along + 3 * aside;
        if (i !== selected && along > 0 && cost < least) [best, least] = [i, cost];
      }
      if (best >= 0) select(best);
    });

    only.addEventListener('change', filter);
    below.addEventListener('input', filter);
    new ResizeObserver(draw).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
    filter();
  }

  if (byId('map')) startMap(byId('map'));
  showNames();
})();
