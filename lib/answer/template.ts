/** The style stands apart from the page, so that its hash can stand in the Content-Security-Policy. */
export const STYLE = `
:root{color-scheme:light dark;--ground:#f6f7f9;--sheet:#fff;--ink:#1d2430;--soft:#566072;--line:#d9dee6}
@media (prefers-color-scheme:dark){:root{--ground:#12151b;--sheet:#1a1f28;--ink:#e8ecf2;--soft:#a3adbd;--line:#2c3442}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--ground);color:var(--ink);font:1.0625rem/1.6 system-ui,sans-serif}
main{max-width:34rem;width:100%;padding:2rem;background:var(--sheet);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}
p{margin:0 0 .75rem;overflow-wrap:anywhere;white-space:pre-line}
.soft{margin:0;color:var(--soft)}
`

/** The bundled page, in Eta. Its variables are those that every template gets. */
export const TEMPLATE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Maintenance</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1><%= it.mode === 'read-only' ? 'Read-only for the moment' : 'Down for maintenance' %></h1>
<p><%= it.message %></p>
<% if (it.endsAt) { %><p class="soft">Expected back: <time datetime="<%= it.endsAt %>"><%= it.endsAt.slice(0, 16).replace('T', ' ') %> UTC</time></p>
<% } else { %><p class="soft">Please try again in a few minutes.</p>
<% } %></main>
</body>
</html>
`
