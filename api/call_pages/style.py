"""The style sheet of the file: dark and light by the system's wish, readable at any width, and on paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ground: #fbfbfa; --panel: #fff; --ink: #20242a; --quiet: #5c636e; --line: #dcdfe3;
  --link: #00568a; --bad: #a83f00; --mark: #d55e00; --amber: #e69f00; --blue: #0072b2; --purple: #a2467a;
  --band: rgba(92,99,110,.18); }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --panel: #1b1f25; --ink: #e4e7eb; --quiet: #9aa3af;
  --line: #323843; --link: #6cbcee; --bad: #ff8a3d; --blue: #56b4e9; --purple: #cc79a7;
  --band: rgba(154,163,175,.22); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px 20px 48px; max-width: 1240px; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 22px; margin: 4px 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 8px; overflow-wrap: anywhere; }
h3 { font-size: 15px; color: var(--quiet); margin: 16px 0 6px; }
h4 { font-size: 14px; margin: 14px 0 4px; overflow-wrap: anywhere; }
a { color: var(--link); } :focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
.quiet, .range, .of { color: var(--quiet); font-size: 13px; } .bad { color: var(--bad); font-weight: 600; }
section { border-top: 1px solid var(--line); padding: 18px 0 8px; margin-top: 18px; }
.box { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; }
th { color: var(--quiet); font-weight: 500; text-align: left; }
td, th { padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; } td.wide { overflow-wrap: anywhere; min-width: 12rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 2px 24px;
  margin: 0 0 10px; }
dl div { display: flex; gap: 10px; min-width: 0; } dt { color: var(--quiet); flex: 0 0 8.5rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.ladder { min-width: calc(11rem + var(--ends) * 9rem); font-size: 13px; border: 1px solid var(--line);
  border-radius: 6px;
  background: var(--panel); padding: 8px 12px 12px; }
.rung { display: grid; grid-template-columns: 11rem repeat(calc(2 * var(--ends)), minmax(0, 1fr));
  align-items: center; min-height: 23px; }
.rung .at { color: var(--quiet); white-space: nowrap; } .rung .at small { margin-left: 8px; }
.ends-row { font-weight: 600; }
.end { text-align: center; overflow-wrap: anywhere; }
.arrow { position: relative; text-align: center; border-bottom: 1.5px solid currentColor; white-space: nowrap; }
.arrow.right::after, .arrow.left::before { content: ""; position: absolute; bottom: -5px;
  border: 4.5px solid transparent; }
.arrow.right::after { right: -1px; border-left-color: currentColor; border-right-width: 0; }
.arrow.left::before { left: -1px; border-right-color: currentColor; border-left-width: 0; }
.arrow.self { border-bottom-style: dotted; } .is-progress, .is-success { color: var(--quiet); }
.is-failure { color: var(--bad); font-weight: 650; }
.streams { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 32rem), 1fr)); gap: 8px 32px; }
.streams > div { min-width: 0; }
.lane { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr) 5.5rem; gap: 10px; align-items: center;
  margin: 2px 0; }
.lane svg { width: 100%; display: block; background: var(--panel); border-bottom: 1px solid var(--line); }
.lane path { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.tick.lost, path.loss { stroke: var(--mark); } .tick.unsent { stroke: var(--blue); }
path.jitter { stroke: var(--purple); }
path.mos { stroke: var(--blue); } path.moment { stroke: var(--quiet); stroke-dasharray: 3 3; }
rect.held { fill: var(--band); }
.ends { display: flex; justify-content: space-between; color: var(--quiet); font-size: 12px; }
.ends i { font-style: normal; }
.bars { width: 100%; } .bars td:nth-child(2) { width: 40%; } .bars td:nth-child(3) { text-align: right; }
.bars td:nth-child(4) { color: var(--quiet); font-size: 13px; }
.bars svg { display: block; } rect.late-no, rect.total { fill: var(--quiet); opacity: .55; }
rect.late-partly { fill: var(--amber); }
rect.late-yes, rect.less { fill: var(--mark); } rect.more { fill: var(--blue); }
code { overflow-wrap: anywhere; font-size: 13px; }
summary { color: var(--quiet); cursor: pointer; font-size: 13px; padding: 4px 0; }
@media (max-width: 640px) { body { padding: 10px 12px 32px; }
.lane { grid-template-columns: 5rem minmax(0, 1fr) 4.5rem; gap: 6px; } }
@media print { body { max-width: none; } section { break-before: page; } }
"""
