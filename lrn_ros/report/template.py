# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page that a report is put into: style and script, nothing from the network."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #667085; --line: #d8dde4;
  --tile: #f4f6f9; --a: #1f6feb; --b: #d9730d; --bad: #c2272d; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e6e9ee; --soft: #98a2b3;
  --line: #333a45; --tile: #1d222a; --a: #6ea8fe; --b: #f0a35e; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.35rem; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 28px 0 8px; border-bottom: 1px solid var(--line); }
p { margin: 4px 0; }
p, li, figcaption { overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .86rem; }
.bad { color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(138px, 1fr)); gap: 8px;
  margin: 12px 0; }
.tile { background: var(--tile); border-radius: 8px; padding: 8px 10px; }
.tile b { display: block; font-size: 1.3rem; }
.tile span { color: var(--soft); font-size: .82rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr));
  gap: 12px; }
.charts figure, .panels figure { margin: 0; min-width: 0; }
svg { width: 100%; height: auto; display: block; }
svg line { stroke: var(--line); }
svg text { fill: var(--soft); font-size: 11px; }
@media (max-width: 760px) { svg text { font-size: 14px; } }
svg polyline { fill: none; stroke-width: 1.8; }
svg .a { stroke: var(--a); } svg .b { stroke: var(--b); } svg circle.a { fill: var(--a); }
svg .ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .bar { fill: var(--a); }
.keys { font-size: .82rem; color: var(--soft); }
.key::before { content: ""; display: inline-block; width: 14px; height: 3px; margin: 0 5px 3px 0;
  background: var(--a); }
.key.b::before { background: var(--b); }
.key + .key { margin-left: 14px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 8px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; }
table.classes { width: 100%; }
table.classes td.wide { width: 45%; min-width: 90px; }
.rod { height: 10px; border-radius: 3px; background: var(--a); min-width: 1px; }
.rod.thin { height: 4px; margin-top: 2px; background: var(--b); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  border: 1px solid var(--line); vertical-align: -1px; }
table.matrix td, table.matrix th { padding: 3px 5px; font-size: .76rem; }
table.matrix thead th:not(:first-child) { writing-mode: vertical-rl; transform: rotate(180deg);
  text-align: left; }
table.matrix td { text-align: center; min-width: 34px; }
.panels { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; margin: 6px 0 14px; }
@media (max-width: 760px) { .panels { grid-template-columns: repeat(2, 1fr); } }
.panels img, .strip img { width: 100%; display: block; border-radius: 4px; background: #000; }
.strip { max-width: 720px; }
input[type=range] { width: 100%; margin: 10px 0 0; }
select { font: inherit; padding: 3px 6px; max-width: 100%; }
"""

SCRIPT = """
const strip = document.getElementById('strip');
if (strip) {
  const frames = JSON.parse(document.getElementById('strip-data').textContent);
  const image = document.getElementById('strip-image');
  const caption = document.getElementById('strip-caption');
  const show = () => {
    image.src = frames[strip.value].image;
    caption.textContent = frames[strip.value].caption;
  };
  strip.addEventListener('input', show);
  show();
}
const choice = document.getElementById('worst-class');
if (choice) {
  const show = () => document.querySelectorAll('[data-class]').forEach(
    (part) => { part.hidden = part.dataset.class !== choice.value; });
  choice.addEventListener('change', show);
  show();
}
"""
