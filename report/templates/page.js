// Contents that follow the reader, and cards that show what a reference, a claim or a number points at.
// The page can be read without this script.
'use strict';

// Mark the entry of the section that is being read, and keep it in sight.
const entries = new Map();
for (const link of document.querySelectorAll('nav a[href^="#"]')) {
  const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  if (target) entries.set(target, link);
}
let current = null;
function follow() {
  const headings = [...entries.keys()].filter((target) => target.getBoundingClientRect().top < 0.3 * innerHeight);
  const link = entries.get(headings.at(-1) ?? entries.keys().next().value);
  if (link === current) return;
  current?.removeAttribute('aria-current');
  link?.setAttribute('aria-current', 'true');
  current = link;
  const nav = link?.closest('nav');
  if (nav && nav.scrollHeight > nav.clientHeight) nav.scrollTop = link.offsetTop - nav.clientHeight / 2;
}
let waiting = false;
addEventListener('scroll', () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; follow(); });
}, {passive: true});
follow();

// Fold the appendices; whoever follows a link into one sees it.
for (const section of document.querySelectorAll('section.appendix')) {
  const details = document.createElement('details');
  const summary = document.createElement('summary');
  summary.append(section.firstElementChild);
  details.append(summary, ...section.childNodes);
  section.append(details);
}
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.querySelector(':scope > details') ?? target?.closest('section.appendix > details');
  if (!details || details.open) return;
  details.open = true;
  target.scrollIntoView();
}
addEventListener('hashchange', unfold);
addEventListener('beforeprint', () => {
  for (const details of document.querySelectorAll('section.appendix > details')) details.open = true;
});
unfold();

// Long tables can be searched, sorted by a column, and saved.
const LONG = 6;  // rows
const collator = new Intl.Collator('en', {numeric: true});

// Return the cells of rows by row and column; a cell that spans stands in each place that it covers.
function places(rows) {
  const grid = rows.map(() => []);
  rows.forEach((row, i) => {
    for (const cell of row.cells) {
      const j = [...grid[i], undefined].findIndex((place) => !place);
      for (let down = 0; down < cell.rowSpan && i + down < grid.length; down++) {
        for (let right = 0; right < cell.colSpan; right++) grid[i + down][j + right] = cell;
      }
    }
  });
  return grid;
}

// Return a number with an ordinary minus and without spaces between thousands, so that it sorts as one.
function plain(cell) {
  return cell.textContent.trim().replaceAll('\u2212', '-').replaceAll('\u202f', '');
}

// Return the rows in the order of a column: numbers first, by size, and then text.
function sorted(table, column, down) {
  const rows = [...table.tBodies[0].rows];
  const keys = new Map(places(rows).map((row, i) => {
    const key = plain(row[column]);
    return [rows[i], {text: key, number: Number.parseFloat(key.replace(/^[<>[\s]+/, ''))}];
  }));
  const compare = (a, b) => Number.isNaN(a.number) - Number.isNaN(b.number)
    || (a.number - b.number || collator.compare(a.text, b.text)) * (down ? -1 : 1);
  return rows.sort((a, b) => compare(keys.get(a), keys.get(b)));
}

function csv(table) {
  const quote = (cell) => `"${plain(cell).replaceAll('"', '""')}"`;
  return places([...table.rows]).map((row) => row.map(quote).join(',')).join('\n');
}

function equip(table) {
  const columns = places([...table.tHead.rows]).at(-1);
  columns.forEach((head, column) => {
    const button = text('button', '');
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const down = head.ariaSort === 'ascending';
      for (const other of columns) other.ariaSort = null;
      head.ariaSort = down ? 'descending' : 'ascending';
      table.tBodies[0].append(...sorted(table, column, down));
    });
  });
  const search = text('input', '');
  search.type = 'search';
  search.placeholder = search.ariaLabel = 'Search the table';
  search.addEventListener('input', () => {
    const wanted = search.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  const save = text('a', 'Save as CSV');
  save.download = `${table.id}.csv`;
  save.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv(table))}`;
  const tools = text('div', '', 'tools');
  tools.append(search, save);
  table.closest('.table-box').before(tools);
}

// Cards.
const card = document.createElement('div');
card.id = 'card';
card.setAttribute('role', 'tooltip');
card.hidden = true;
document.body.append(card);
let shown = null;
let timer = 0;

// Return a copy without ids, because an id may occur only once. Pictures keep theirs, which they refer to.
function copy(node) {
  const result = node.cloneNode(true);
  result.removeAttribute('id');
  for (const part of result.querySelectorAll('[id]')) if (!part.closest('svg')) part.removeAttribute('id');
  for (const part of result.querySelectorAll('details')) part.remove();
  for (const part of result.querySelectorAll('a, [tabindex]')) part.setAttribute('tabindex', '-1');
  return result;
}

function text(tag, content, name) {
  const result = document.createElement(tag);
  result.textContent = content;
  if (name) result.className = name;
  return result;
}

function claim(row) {
  const names = [...row.closest('table').querySelectorAll('thead th')].map((cell) => {
    const name = copy(cell);
    for (const note of name.querySelectorAll('annotation')) note.remove();  // it has the TeX of a formula
    return name.textContent;
  });
  const list = document.createElement('dl');
  const spanned = row.cells.length < names.length;  // a claim that was not tested has one wide cell, which says why
  [...row.cells].slice(1).forEach((cell, i) => {
    const name = spanned && i === 1 ? 'Why' : names[spanned && i > 1 ? i + 2 : i + 1];
    const why = spanned && i === 1 && cell.querySelector('.value')?.dataset.source;
    list.append(text('dt', name), text('dd', why || cell.textContent));
  });
  return [text('p', row.cells[0].textContent, 'statement'), list];
}

for (const table of document.querySelectorAll('.table-box table')) {
  if (table.tBodies[0].rows.length >= LONG) equip(table);
}

// Return what the card for an element shows, as a list of nodes.
function content(element) {
  if (element.matches('.value')) return [text('p', element.dataset.source, 'source')];
  const target = document.getElementById(decodeURIComponent(element.hash.slice(1)));
  if (!target) return [];
  const row = target.closest('tr');
  if (row) return claim(row);
  if (target.matches('section')) {
    const first = [target.querySelector('h1, h2, h3, h4'), target.querySelector(':scope > p')];
    return first.filter(Boolean).map(copy);
  }
  return [copy(target.closest('figure, .table-box, .equation') ?? target)];
}

function show(element) {
  hide();
  const parts = content(element);
  if (!parts.length) return;
  card.replaceChildren(...parts);
  card.hidden = false;
  shown = element;
  element.setAttribute('aria-describedby', 'card');
  const box = element.getBoundingClientRect();
  const {offsetWidth: width, offsetHeight: height} = card;
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
  const above = box.top - height - 8;
  const top = box.bottom + height + 8 > innerHeight && above > 0 ? above : box.bottom + 8;
  card.style.left = `${left + scrollX}px`;
  card.style.top = `${top + scrollY}px`;
}

function hide() {
  clearTimeout(timer);
  shown?.removeAttribute('aria-describedby');
  shown = null;
  card.hidden = true;
}

const pointable = 'main a[href^="#"], main .value';
for (const value of document.querySelectorAll('.value[title]')) {
  value.dataset.source = value.title;
  value.removeAttribute('title');
}
document.addEventListener('mouseover', (event) => {
  const element = event.target.closest?.(pointable);
  if (element === shown || card.contains(event.target)) { clearTimeout(timer); return; }
  clearTimeout(timer);
  timer = setTimeout(element ? () => show(element) : hide, element ? 120 : 200);
});
document.addEventListener('focusin', (event) => {
  const element = event.target.closest(pointable);
  if (element?.matches(':focus-visible')) show(element); else hide();
});
document.addEventListener('click', (event) => {  // a tap on a number opens its card, and a tap elsewhere closes it
  const value = event.target.closest('main .value');
  if (value && !value.closest('a')) show(value); else if (!card.contains(event.target)) hide();
});
document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
