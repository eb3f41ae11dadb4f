"""How the pages look: colours of light and dark, one set of rules, the keys. No text from outside ever gets in here."""

from __future__ import annotations

COLOURS = """
:root{color-scheme:light;--bg:#f5f6f8;--panel:#fff;--fg:#1a2027;--soft:#5b6672;--faint:#8b95a1;--rule:#e3e7ec;
--accent:#0b62d6;--good:#18794e;--good-bg:#e6f4ec;--watch:#8f5a00;--watch-bg:#fff3da;--bad:#b4232c;--bad-bg:#fdeaea;
--idle-bg:#edf0f3;--shadow:0 1px 2px rgba(20,30,40,.05)}
DARK{color-scheme:dark;--bg:#0e1216;--panel:#161c22;--fg:#e6eaef;--soft:#9ba7b3;--faint:#727e8b;--rule:#262e37;
--accent:#6cb2ff;--good:#57cc8a;--good-bg:#12271d;--watch:#f0b849;--watch-bg:#2b2211;--bad:#ff8a8f;--bad-bg:#301719;
--idle-bg:#1c232b;--shadow:none}
"""
"""DARK stands for whatever says that it is dark."""

RULES = """
*{box-sizing:border-box}
html{scrollbar-gutter:stable}
body{margin:0;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:6px}
.soft{color:var(--soft)}.num{font-variant-numeric:tabular-nums}
h1{font-size:22px;font-weight:600;line-height:1.3;margin:0;letter-spacing:-.01em}
h2{font-size:15px;font-weight:600;line-height:1.4;margin:0;letter-spacing:0}
p{margin:0}
.panel{background:var(--panel);border:1px solid var(--rule);border-radius:12px;box-shadow:var(--shadow);padding:16px 18px}
code,pre,.mono{font:13px/1.55 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
"""

PAGES = """
.nicegui-content{padding:0;display:block;width:100%;max-width:none}
.q-page-container,.q-layout{min-height:0!important}
.skip{position:absolute;left:-999px}.skip:focus{left:12px;top:10px;z-index:50;background:var(--panel);padding:6px 12px}
.top{position:sticky;top:0;z-index:20;background:var(--panel);border-bottom:1px solid var(--rule)}
.bar{max-width:1180px;margin:0 auto;padding:0 24px;height:56px;display:flex;align-items:center;gap:22px}
.brand{display:flex;align-items:center;gap:9px;font-weight:600;color:var(--fg);white-space:nowrap}
.brand:hover{text-decoration:none}
.brand svg{width:26px;height:26px;color:var(--accent)}
nav.pages{display:flex;gap:2px;flex:1}
nav.pages a{color:var(--soft);padding:6px 11px;border-radius:8px;display:flex;gap:7px;align-items:center}
nav.pages a:hover{background:var(--bg);text-decoration:none;color:var(--fg)}
nav.pages a[aria-current]{color:var(--fg);background:var(--idle-bg);font-weight:550}
nav.pages svg{display:none;width:21px;height:21px}
.badge{background:var(--bad);color:var(--panel);font-size:12px;line-height:18px;min-width:18px;padding:0 5px;
border-radius:9px;text-align:center;font-weight:600}
.badge:empty{display:none}
.who{display:flex;gap:4px;align-items:center;color:var(--soft);font-size:14px}
.who form{margin:0}
.quiet{background:none;border:0;color:var(--soft);font:inherit;padding:6px 9px;border-radius:8px;cursor:pointer}
.quiet svg{width:20px;height:20px;display:block}
.quiet:hover{background:var(--bg);color:var(--fg)}
.page{display:block;max-width:1180px;margin:0 auto;padding:26px 24px 64px;outline:0}
.stack{display:flex;flex-direction:column;gap:16px}
.row{display:flex;align-items:center;gap:12px;flex-wrap:wrap}.grow{flex:1}
.verdict{display:flex;gap:16px;align-items:flex-start;padding:20px 22px}
.verdict .mark{width:38px;height:38px;border-radius:50%;flex:none;display:grid;place-items:center}
.verdict .mark svg{width:22px;height:22px}
.verdict .helps{color:var(--soft);margin-top:5px;max-width:80ch}
.good .mark{background:var(--good-bg);color:var(--good)}.watch .mark{background:var(--watch-bg);color:var(--watch)}
.bad .mark{background:var(--bad-bg);color:var(--bad)}.idle .mark{background:var(--idle-bg);color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(6,1fr);gap:12px}
.tile{padding:13px 16px;min-width:0}
.tile small{color:var(--soft);display:block;font-size:13px}
.tile b{font-size:22px;font-weight:600;line-height:1.45;display:block;white-space:nowrap;
font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.tile b span{font-size:14px;font-weight:500;color:var(--soft);margin-left:3px;letter-spacing:0}
.panel>h2{margin-bottom:10px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:16px}.two>*{min-width:0}
.chart{height:218px;width:100%}
.chart.tall{height:420px}
.legend{display:flex;gap:14px;flex-wrap:wrap;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle}
.ranges .q-btn{min-height:30px;padding:0 13px;font-size:13.5px;font-weight:500;text-transform:none;letter-spacing:0}
.ranges{border:1px solid var(--rule);border-radius:9px;background:var(--panel);box-shadow:none}
.ranges .q-btn[aria-pressed=true]{background:var(--idle-bg);color:var(--fg)}
.ranges .q-btn[aria-pressed=false]{color:var(--soft)}
.list{display:flex;flex-direction:column}
.item{padding:10px 0;border-top:1px solid var(--rule)}.item:first-child{border-top:0;padding-top:2px}
.item .what{display:flex;gap:12px;justify-content:space-between}
.item .what b{font-weight:550}
.share{height:4px;border-radius:2px;background:var(--idle-bg);margin-top:7px;overflow:hidden}
.share i{display:block;height:4px;border-radius:2px;background:var(--accent);opacity:.75}
.pill{display:inline-block;align-self:flex-start;flex:none;font-size:12.5px;line-height:20px;border-radius:10px;padding:0 9px;white-space:nowrap;
background:var(--idle-bg);color:var(--soft);font-weight:550}
.pill.good{background:var(--good-bg);color:var(--good)}.pill.watch{background:var(--watch-bg);color:var(--watch)}
.pill.bad{background:var(--bad-bg);color:var(--bad)}
.q-table__container{background:transparent!important;box-shadow:none!important;color:inherit}
.q-table{font-size:14px}.q-table th{color:var(--soft);font-size:13px;font-weight:550}
.q-table td{font-size:14px!important;font-variant-numeric:tabular-nums}
.q-table td,.q-table th{border-color:var(--rule)!important;padding:8px 12px!important}
.q-table th:first-child,.q-table td:first-child{padding-left:4px!important}
.q-table tbody tr:hover{background:var(--bg)}
.q-table__bottom{border-color:var(--rule)!important;color:var(--soft)}
.q-field--outlined .q-field__control{border-radius:9px;background:var(--panel);color:var(--fg)}
.q-field--outlined .q-field__control:before{border-color:var(--rule)!important}
.q-field__native,.q-field__input,.q-field__marginal{color:var(--fg)!important}
.q-field__native::placeholder{color:var(--faint);opacity:1}
.q-btn.button{background:var(--accent);color:var(--panel);border-radius:9px;font-weight:550;letter-spacing:0}
.q-btn.plain{color:var(--accent);font-weight:500;letter-spacing:0}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:14px 24px}
.facts small{display:block;color:var(--soft);font-size:13px}.facts b{font-weight:550}
pre.config{margin:0;overflow-x:auto;white-space:pre;tab-size:4;max-height:70vh}
pre.config .add{color:var(--good)}pre.config .del{color:var(--bad)}pre.config .at{color:var(--soft)}
.note{color:var(--soft);padding:22px 0;text-align:center}
.tip{background:var(--panel)!important;border:1px solid var(--rule)!important;color:var(--fg)!important;
border-radius:9px!important;box-shadow:0 4px 16px rgba(0,0,0,.12)!important;font:13px/1.5 system-ui,sans-serif!important}
.tip:empty{display:none!important}
.q-dialog .panel{max-width:460px;width:100%}
dialog{color:var(--fg)}dialog::backdrop{background:rgba(10,14,18,.35)}
kbd{font:12.5px ui-monospace,monospace;border:1px solid var(--rule);border-bottom-width:2px;border-radius:5px;padding:1px 6px}
.keys{display:grid;grid-template-columns:auto 1fr;gap:7px 16px;margin-top:12px}
@media(max-width:1000px){.tiles{grid-template-columns:repeat(3,1fr)}}
@media(max-width:760px){
.bar{padding:0 16px;height:50px;gap:8px}.page{padding:16px 14px 96px}.two{grid-template-columns:1fr}
.tiles{grid-template-columns:1fr 1fr;gap:10px}.wide{display:none!important}h1{font-size:18px}.who .name{display:none}
main .ranges,.ranges{width:100%;justify-content:space-between}.brand{flex:1}.verdict{padding:16px;gap:12px}.verdict .mark{width:32px;height:32px}.panel{padding:14px}.tile{padding:11px 14px}
.chart{height:186px}.chart.tall{height:320px}
nav.pages{position:fixed;left:0;right:0;bottom:0;z-index:30;background:var(--panel);border-top:1px solid var(--rule);
padding:4px 6px calc(4px + env(safe-area-inset-bottom));gap:0}
nav.pages a{flex:1;flex-direction:column;gap:0;font-size:11.5px;padding:5px 0;position:relative}
nav.pages a[aria-current]{background:none;color:var(--accent)}
nav.pages svg{display:block}.badge{position:absolute;top:2px;left:calc(50% + 8px);min-width:16px;line-height:16px}
.q-table td,.q-table th{padding:8px 8px!important;white-space:normal}
.q-table td:first-child{overflow-wrap:anywhere}}
@media(prefers-reduced-motion:reduce){*{transition:none!important;animation:none!important}}
@media print{.top,nav.pages{display:none}.panel{break-inside:avoid;box-shadow:none}}
"""

KEYS = """
document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest('input,textarea,select,[contenteditable]')) return;
  const go = {o: '/', f: '/flows', s: '/subscribers', a: '/alarms', c: '/configuration'};
  if (go[e.key]) location.href = go[e.key];
  else if (e.key === '/') { const s = document.querySelector('input[type=search]'); if (s) { s.focus(); e.preventDefault(); } }
  else if (e.key === 't') document.getElementById('theme')?.click();
  else if (e.key === '?') document.getElementById('keys')?.showModal();
});
const swOrder = ['auto', 'light', 'dark'];
function swTheme() { return (document.cookie.match(/swtheme=(\\w+)/) || [])[1] || 'auto'; }
function swNext() {
  const next = swOrder[(swOrder.indexOf(swTheme()) + 1) % 3];
  document.cookie = 'swtheme=' + next + ';path=/;max-age=31536000;samesite=strict;secure';
  location.reload();
}
"""
"""One key per page, / for the search, t for light and dark, ? for help."""

WIRE = (
    '<svg viewBox="0 0 32 32" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" '
    'aria-hidden="true"><path d="M2 16h5c3 0 3.5-8 7-8s3 16 6.5 16S24 16 27 16h3"/></svg>'
)
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%230b62d6' "
    "stroke-width='3' stroke-linecap='round'%3E%3Cpath d='M2 16h5c3 0 3.5-8 7-8s3 16 6.5 16S24 16 27 16h3'/%3E%3C/svg%3E"
)
MARKS = {
    "good": "M5 13l5 5L20 7",
    "watch": "M12 5v9M12 18.5v.5",
    "bad": "M7 7l10 10M17 7L7 17",
    "idle": "M6 12h12",
}
ICONS = {
    "overview": "M4 13h4l2-7 4 13 2-6h4",
    "flows": "M4 8h13l-3-3M20 16H7l3 3",
    "subscribers": "M12 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM5 20c.5-4 3.5-5.5 7-5.5s6.5 1.5 7 5.5",
    "alarms": "M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 20.5h4",
    "configuration": "M5 7h14M5 12h14M5 17h9",
}


def svg(path: str) -> str:
    """A line drawing of 24 x 24."""
    return (
        f'<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
        f'stroke-linejoin="round" aria-hidden="true"><path d="{path}"/></svg>'
    )


def for_pages() -> str:
    """The style sheet of the pages, whose library marks the body when it is dark."""
    return COLOURS.replace("DARK", "body.body--dark") + RULES + PAGES
