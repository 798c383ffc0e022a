/**
 * Light or dark?
 *
 * As the system says, until the reader chooses. Loaded before anything is drawn.
 */
const CHOICES = ['system', 'light', 'dark'];
const KEPT_AS = 'domicile-console-theme';

export function chosenTheme() {
  try {
    const kept = localStorage.getItem(KEPT_AS) ?? '';
    return CHOICES.includes(kept) ? kept : 'system';
  } catch {
    // Where nothing may be kept, the choice lasts as long as the page.
    return document.documentElement.dataset.theme ?? 'system';
  }
}

export function nextTheme() {
  const next = CHOICES[(CHOICES.indexOf(chosenTheme()) + 1) % CHOICES.length] ?? 'system';
  try {
    localStorage.setItem(KEPT_AS, next);
  } catch {
    // As above.
  }
  document.documentElement.dataset.theme = next;
  return next;
}

document.documentElement.dataset.theme = chosenTheme();
