// The style and the script stand apart from the page, so that their hashes can stand in the Content-Security-Policy.

export const STYLE = `
:root{color-scheme:light dark;--ground:#f4f5f8;--sheet:#fff;--ink:#1d2430;--soft:#566072;--line:#d9dee6;--accent:#1f5fbf}
@media (prefers-color-scheme:dark){:root{--ground:#12151b;--sheet:#1a1f28;--ink:#e8ecf2;--soft:#a9b3c3;--line:#2c3442;--accent:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;background:var(--ground);color:var(--ink);font:1.0625rem/1.6 system-ui,sans-serif}
main{max-width:34rem;width:100%;padding:clamp(1.25rem,5vw,2.25rem);background:var(--sheet);border:1px solid var(--line);border-top:.25rem solid var(--accent);border-radius:.5rem}
h1{margin:0;font-size:1.5rem;line-height:1.25}
p{margin:.75rem 0 0;overflow-wrap:anywhere}
.message{white-space:pre-line}
.soft{color:var(--soft)}
#left{display:block}
a{color:var(--accent)}
`

/**
 * Shows the end in the visitor's time zone, counts down, and asks whether the site is back: with jitter,
 * so that not all visitors come at once. It goes there by a plain navigation, which never posts a form
 * again. In read-only mode it does not ask: what was refused is a write, and the site can be read.
 */
export const SCRIPT = `
(function () {
  var main = document.querySelector('main')
  var spoken = document.documentElement.lang
  var lang = navigator.languages.find(function (tag) { return tag.split('-')[0] === spoken }) || spoken
  var time = document.querySelector('time')
  var left = document.getElementById('left')
  var status = document.getElementById('status')
  var end = time && Date.parse(time.dateTime)
  var url = location.href.split('#')[0]
  if (time) {
    var format = { year: 'numeric', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short' }
    time.textContent = new Intl.DateTimeFormat(lang, format).format(end)
    count()
  }
  if (main.dataset.mode === 'full') {
    status.hidden = false
    document.getElementById('plain').hidden = true
    setTimeout(ask, 20000 + Math.random() * 20000)
    document.addEventListener('visibilitychange', function () { if (!document.hidden) ask() })
  }
  function count () {
    var seconds = Math.round((end - Date.now()) / 1000)
    var words = new Intl.RelativeTimeFormat(lang, { numeric: 'auto' })
    var text = ''
    if (seconds > 5400) text = words.format(Math.round(seconds / 3600), 'hour')
    else if (seconds >= 60) text = words.format(Math.ceil(seconds / 60), 'minute')
    else if (seconds > 0) text = words.format(Math.ceil(seconds / 10) * 10, 'second')
    if (text !== left.textContent) left.textContent = text
    if (seconds > 0) setTimeout(count, seconds < 60 ? 5000 : 15000)
  }
  var asking = false
  function ask () {
    if (asking) return
    asking = true
    fetch(url, { method: 'HEAD', cache: 'no-store', headers: { accept: 'text/html' } }).then(function (answer) {
      if (isClosed(answer.headers) || answer.status >= 500) return again()
      if (answer.ok) return location.replace(url)
      status.textContent = main.dataset.back
      document.getElementById('home').hidden = false
    }).catch(again)
  }
  // whoever is let through sees the header, too
  function isClosed (headers) {
    return headers.has('maintenance-mode') && !headers.has('maintenance-pass')
  }
  function again () {
    setTimeout(function () { asking = false; ask() }, 20000 + Math.random() * 20000)
  }
})()
`

/** The bundled page, in Eta. Its variables are those that every template gets, and the words of a language. */
export const TEMPLATE = `<!doctype html>
<html lang="<%= it.language %>" dir="<%= it.language === 'ar' ? 'rtl' : 'ltr' %>">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><%= it.texts.title[it.mode] %></title>
<style>${STYLE}</style>
</head>
<body>
<main data-mode="<%= it.mode %>" data-back="<%= it.texts.back %>">
<h1><%= it.texts.title[it.mode] %></h1>
<p class="message" dir="auto"><%= it.customMessage ?? it.texts.message[it.mode] %></p>
<% if (it.endsAt) { %><p class="soft"><%= it.texts.expected %> <time datetime="<%= it.endsAt %>"><%= it.endsAt.slice(0, 16).replace('T', ' ') %> UTC</time><span id="left" aria-live="polite"></span></p>
<% } else { %><p class="soft"><%= it.texts.later %></p>
<% } %><p class="soft" id="status" role="status" hidden><%= it.texts.waiting %></p>
<p id="home" hidden><a href="/"><%= it.texts.home %></a></p>
<% if (it.mode === 'full') { %><p class="soft" id="plain"><%= it.texts.noScript %> <a href=""><%= it.texts.retry %></a></p>
<% } %></main>
<script>${SCRIPT}</script>
</body>
</html>
`
