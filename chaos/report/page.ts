/**
 * What surrounds the content of a report?
 *
 * A policy that lets the browser fetch nothing and run nothing but the one script below, known by its
 * digest; so even a text that slipped through as markup could neither run nor call home.
 */
import { createHash } from 'node:crypto';
import { cut, escaped, html, type Markup } from './markup.ts';
import { STYLE } from './page-style.ts';
import { READ_OUT } from './read-out.ts';

const TITLE_LENGTH_MAX = 200;

const POLICY = [
  "default-src 'none'",
  `style-src ${digest(STYLE)}`,
  `script-src ${digest(READ_OUT)}`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

export function page(title: string, content: Markup): string {
  // Style and script are this repository's own text and must stand there to the byte.
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escaped(POLICY).replaceAll('&#39;', "'")}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${escaped(cut(title, TITLE_LENGTH_MAX))}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${html`${content}`.toString()}
</main>
<script>${READ_OUT}</script>
</body>
</html>
`;
}

function digest(source: string): string {
  return `'sha256-${createHash('sha256').update(source).digest('base64')}'`;
}
