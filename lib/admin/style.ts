// Apart from the page, so that its hash can stand in the Content-Security-Policy.
export const STYLE: string = `
:root{color-scheme:light dark;--ground:#f3f5f8;--sheet:#fff;--ink:#1b2330;--soft:#556070;--line:#d5dbe4;--field:#8a94a3;--accent:#1f5fbf;--on:#fff;--open:#17703f;--openbg:#e5f4eb;--closed:#b3261e;--closedbg:#fcebe9;--part:#835200;--partbg:#fdf1dc;--soon:#1f5fbf;--soonbg:#e7effb}
@media (prefers-color-scheme:dark){:root{--ground:#11141a;--sheet:#191e27;--ink:#e7ebf1;--soft:#a7b1c1;--line:#2d3543;--field:#6d7889;--accent:#8ab4f8;--on:#10141b;--open:#6fd19a;--openbg:#14291e;--closed:#ff9a90;--closedbg:#341a1a;--part:#f0bf6b;--partbg:#2f2616;--soon:#8ab4f8;--soonbg:#172438}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
[hidden]{display:none!important}
body>header,main{max-width:62rem;margin:0 auto;padding:0 1.25rem}
body>header{display:flex;align-items:center;gap:1rem;padding-top:1.5rem}
h1{font-size:1.375rem;margin:0;flex:1}
h2{font-size:1.625rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2:focus,.box:focus{outline:0}
h3{font-size:.9375rem;margin:0 0 .5rem}
p{margin:0}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.soft,.hint,dt,.pick small{color:var(--soft)}
.hint,.error,.pick small,aside{font-size:.875rem}
#live{font-size:.875rem;color:var(--open)}
#live::before,.look::before{content:"";display:inline-block;width:.625em;height:.625em;border-radius:50%;background:currentColor;margin-inline-end:.5em}
#live.lost{color:var(--closed)}
#live.lost::before{border-radius:0}
nav ul{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;margin:1rem 0 0;padding:0}
nav a{display:inline-block;padding:.375rem .75rem;border:1px solid var(--line);border-radius:2rem;background:var(--sheet);color:inherit;text-decoration:none}
.site{margin:1.25rem 0 2rem;background:var(--sheet);border:1px solid var(--line);border-radius:.625rem;overflow:hidden}
.head{display:flex;flex-wrap:wrap;gap:1rem 1.5rem;align-items:flex-start;padding:1.25rem;border-inline-start:.375rem solid var(--tone);background:var(--toned)}
.head>div{flex:1 1 18rem;min-width:0}
.is-open{--tone:var(--open);--toned:var(--openbg)}
.is-closed{--tone:var(--closed);--toned:var(--closedbg)}
.is-read-only,.is-hold{--tone:var(--part);--toned:var(--partbg)}
.is-announced{--tone:var(--soon);--toned:var(--soonbg)}
.look{color:var(--tone);font-weight:700}
.name{display:block;color:var(--soft);font-size:1rem;font-weight:600}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.125rem .875rem;margin:.625rem 0 0;font-size:.9375rem}
dd{margin:0;overflow-wrap:anywhere;white-space:pre-line}
.note{margin-top:.75rem;font-size:.9375rem;font-weight:600}
button,.button{font:inherit;font-weight:600;min-height:2.75rem;padding:.5rem 1.125rem;border-radius:.375rem;border:1px solid var(--field);background:var(--sheet);color:var(--ink);cursor:pointer}
button:hover{filter:brightness(.94)}
button[disabled]{opacity:.6;cursor:progress}
.go{background:var(--open);border-color:var(--open);color:var(--on)}
.stop{background:var(--closed);border-color:var(--closed);color:var(--on)}
.keep{background:var(--accent);border-color:var(--accent);color:var(--on)}
.box{margin:1.25rem 1.25rem 0;padding:1rem;border:1px solid var(--tone);border-inline-start-width:.375rem;border-radius:.375rem;background:var(--toned)}
.box b{display:block;color:var(--tone)}
.link{display:flex;flex-wrap:wrap;gap:.5rem;margin-top:.5rem}
.link input:read-only{flex:1 1 16rem;margin:0;font-family:ui-monospace,monospace}
details{padding:0 1.25rem}
summary{padding:1rem 0;font-weight:600;cursor:pointer}
form.edit{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(18rem,100%),1fr));gap:1.25rem 1.5rem;padding-bottom:1.25rem}
.wide{grid-column:1/-1}
fieldset{border:0;margin:0;padding:0;min-width:0}
label,legend{font-weight:600;padding:0}
.field>*{display:block}
.hint,.error{margin-top:.25rem}
input:not([type=radio]),textarea,select{font:inherit;width:100%;min-width:0;min-height:2.75rem;padding:.5rem .625rem;margin-top:.25rem;border:1px solid var(--field);border-radius:.375rem;background:var(--sheet);color:inherit}
textarea{min-height:5rem;resize:vertical}
::placeholder{color:var(--soft);opacity:1}
[aria-invalid=true]{border:2px solid var(--closed)!important}
.error{color:var(--closed);font-weight:600}
.picks{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(15rem,100%),1fr));gap:.5rem;margin-top:.25rem}
.pick{display:flex;align-items:flex-start;gap:.625rem;padding:.625rem .75rem;border:1px solid var(--line);border-radius:.375rem;cursor:pointer}
.pick:has(:checked){border-color:var(--accent);box-shadow:inset 0 0 0 1px var(--accent)}
.pick input{flex:none;margin:.3rem 0 0;accent-color:var(--accent)}
.pick small{display:block;font-weight:400}
.rows{list-style:none;margin:.5rem 0;padding:0;display:grid;gap:.5rem}
.rows li{display:flex;flex-wrap:wrap;gap:0 .5rem;align-items:center}
.rows input{flex:1 1 10rem}
.rows .error{flex-basis:100%}
.rows button{margin-top:.25rem}
.send{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center;border-top:1px solid var(--line);padding-top:1.25rem}
aside{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr));gap:1.25rem 1.5rem;padding:1.25rem;border-top:1px solid var(--line)}
aside ul{list-style:none;margin:0;padding:0;display:grid;gap:.625rem}
aside li{overflow-wrap:anywhere}
aside li b.ok{color:var(--open)}
aside li b.late{color:var(--part)}
@media (max-width:30rem){dl{display:block}dd{margin-bottom:.375rem}body>header,main{padding-inline:.75rem}.head form,.head button,.send button{width:100%}}
@media (forced-colors:active){#live::before,.look::before{background:CanvasText}}
`
