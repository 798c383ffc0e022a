/**
 * What was measured where the pointer is?
 *
 * The page's only script, as text. It shows in the legends what the table of figures has for one
 * slice of the run, under pointer, finger or arrow keys. Without it the page lacks nothing else.
 */
export const READ_OUT = `
'use strict';
(() => {
  const timeline = document.getElementById('timeline');
  const figures = document.getElementById('figures');
  if (!timeline || !figures) return;
  const rows = figures.tBodies[0].rows;
  const endMs = Number(figures.dataset.end);
  const widthMs = Number(figures.dataset.width);
  const behind = timeline.querySelector('.behind');
  const cross = timeline.querySelector('.cross');
  const readout = document.getElementById('readout');
  const time = document.getElementById('readout-time');
  const says = document.getElementById('readout-says');
  const outputs = timeline.querySelectorAll('[data-column]');
  let at = -1;
  function show(index) {
    at = Math.max(0, Math.min(rows.length - 1, index));
    const cells = rows[at].cells;
    const middle = Math.min(endMs, (at + 0.5) * widthMs) / endMs * 100 + '%';
    cross.setAttribute('x1', middle);
    cross.setAttribute('x2', middle);
    cross.setAttribute('visibility', 'visible');
    for (const output of outputs) output.textContent = cells[output.dataset.column].textContent || '–';
    time.textContent = cells[0].textContent;
    says.textContent = [cells[1].textContent, cells[2].textContent].filter(Boolean).join(' · ') || 'no fault';
    readout.setAttribute('aria-valuenow', at);
    readout.setAttribute('aria-valuetext', time.textContent + ', ' + says.textContent + '. ' +
      [...outputs].map((output) => output.parentNode.textContent.trim()).join(', '));
  }
  function hide() {
    at = -1;
    cross.setAttribute('visibility', 'hidden');
    for (const output of outputs) output.textContent = '';
    time.textContent = '';
    says.textContent = 'Point, tap or use arrow keys to read figures.';
    readout.setAttribute('aria-valuenow', 0);
    readout.setAttribute('aria-valuetext', says.textContent);
  }
  function follow(event) {
    const box = behind.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right) return;
    show(Math.floor((event.clientX - box.left) / box.width * endMs / widthMs));
  }
  timeline.addEventListener('pointermove', follow);
  timeline.addEventListener('pointerdown', follow);
  timeline.addEventListener('pointerleave', (event) => { if (event.pointerType === 'mouse') hide(); });
  readout.addEventListener('keydown', (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (event.key === 'Escape') return hide();
    if (event.key === 'Home') show(0);
    else if (event.key === 'End') show(rows.length - 1);
    else if (event.key in steps) show(at + steps[event.key]);
    else return;
    event.preventDefault();
  });
  readout.setAttribute('role', 'slider');
  readout.setAttribute('aria-label', 'Moment of the run');
  readout.setAttribute('aria-valuemin', 0);
  readout.setAttribute('aria-valuemax', rows.length - 1);
  readout.tabIndex = 0;
  readout.hidden = false;
  hide();
})();
`;
