import { SCRIPT } from './script.ts'
import { STYLE } from './style.ts'

/** Beside a field: what is wrong with it. */
const error = (field: string, words: string): string => `<% if (wrong('${field}')) { %><p class="error" id="${field}-e-<%= n %>"><%= t.${words} %></p><% } %>`

const described = (field: string): string => `aria-describedby="${field}-h-<%= n %> ${field}-e-<%= n %>"<% if (wrong('${field}')) { %> aria-invalid="true"<% } %>`

const hidden = (on: boolean): string => `<input type="hidden" name="token" value="<%= it.token %>">
<input type="hidden" name="site" value="<%= site.name %>">
<input type="hidden" name="on" value="${on}">
<input type="hidden" name="expectedRevision" value="<%= site.expectedRevision %>">`

const time = (value: string): string => `<time datetime="<%= ${value} %>"><%= it.utc(${value}) %></time>`

/** The present state, for the head of a site and for whoever was overtaken. */
const STATE = `<dl>
<% if (status.since) { %><dt><%= t.since %></dt><dd>${time('status.since')}</dd>
<% } if (status.by) { %><dt><%= t.by %></dt><dd><%= status.by %></dd>
<% } if (look !== 'open') { %><% if (look === 'announced') { %><dt><%= t.from %></dt><dd>${time('status.startsAt')}</dd>
<% } %><dt><%= t.until %></dt><dd><% if (status.endsAt) { %>${time('status.endsAt')}<% } else { %><%= t.noEnd %><% } %></dd>
<% if (status.message) { %><dt><%= t.message %></dt><dd><%= status.message %></dd>
<% } if (status.ignoreRoutes.length) { %><dt><%= t.ignoreRoutes %></dt><dd><%= status.ignoreRoutes.map(route => route.description ? route.pattern + ' (' + route.description + ')' : route.pattern).join('\\n') %></dd>
<% } } %></dl>`

const HEAD = `<div class="head is-<%= look %>" id="head-<%= n %>" data-part>
<div>
<h2 tabindex="-1" id="name-<%= n %>"><span class="name"><%= site.name %></span> <span class="look"><%= t[look] %></span></h2>
<p><%= t[look + 'Hint'] %></p>
${STATE}
<% if (site.warning) { %><p class="note"><%= t[site.warning] %><% if (status.store.error) { %> <span class="soft"><%= status.store.error %></span><% } %></p>
<% } if (site.pinned) { %><p class="note"><%= t.pinnedHint %></p>
<% } %></div>
<% if (status.on && look !== 'open' && !site.pinned) { %><form method="post" action="<%= it.base %>state" autocomplete="off">
${hidden(false)}
<button class="<%= look === 'announced' ? 'keep' : 'go' %>" aria-describedby="name-<%= n %>"><%= look === 'announced' ? t.cancel : t.openSite %></button>
</form>
<% } %></div>`

/** What is shown once, after a form was sent. */
const ONCE = `<div id="once-<%= n %>" data-part="once">
<% if (failure) { %><div class="box is-closed" role="alert" tabindex="-1"><b><%= failure.kind === 'conflict' ? t.conflict : t.problem %></b>
<% if (failure.kind === 'conflict') { %><p><%= t.conflictHint %></p><p><strong><%= t[look] %></strong></p>
${STATE}
<% } else { %><p><%= failure.kind === 'other' ? failure.text : t[failure.kind] %></p>
<% } %></div>
<% } if (site.link) { %><div class="box is-open" role="status" tabindex="-1"><b><%= t.bypassMade %></b>
<div class="link"><input readonly aria-label="<%= t.bypass %>" value="<%= site.link %>"> <button type="button" class="copy" hidden data-done="<%= t.copied %>"><%= t.copy %></button></div></div>
<% } %><p class="box is-announced stale" role="status" hidden><%= t.stale %></p><p class="box is-closed failed" role="alert" hidden><%= t.failed %></p>
</div>`

const ROW = `<li><input name="ignoreRoutes" aria-label="<%= t.path %> <%= i + 1 %>" placeholder="/health" value="<%= row.pattern %>"<% if (wrong('ignoreRoutes[' + i + ']')) { %> aria-invalid="true" aria-describedby="row-<%= n %>-<%= i %>"<% } %>>
<input name="ignoreRoutesDescription" aria-label="<%= t.description %> <%= i + 1 %>" placeholder="<%= t.description %>" maxlength="200" value="<%= row.description %>">
<button type="button" class="remove" hidden><%= t.remove %></button>
<% if (wrong('ignoreRoutes[' + i + ']')) { %><p class="error" id="row-<%= n %>-<%= i %>"><%= t.wrongRoute %></p><% } %></li>`

const EDIT = `<details id="edit-<%= n %>" data-part<% if (failure) { %> data-dirty<% } if (failure || it.sites.length === 1) { %> open<% } %>>
<summary><%= look === 'open' ? t.closeHead : t.changeHead %></summary>
<form class="edit" method="post" action="<%= it.base %>state" autocomplete="off">
${hidden(true)}
<div class="field wide"><label for="message-<%= n %>"><%= t.message %></label>
<textarea id="message-<%= n %>" name="message" rows="3" maxlength="10000" ${described('message')}>
<%= fields.message %></textarea>
<p class="hint" id="message-h-<%= n %>"><%= t.messageHint %></p>${error('message', 'wrongMessage')}</div>
<fieldset class="wide"><legend><%= t.mode %></legend><div class="picks">
<% for (const mode of ['full', 'read-only', 'hold']) { %><label class="pick"><input type="radio" name="mode" value="<%= mode %>"<% if (fields.mode === mode) { %> checked<% } %>><span><%= t[mode + 'Mode'] %><small><%= t[mode + 'ModeHint'] %></small></span></label>
<% } %></div>${error('mode', 'wrongOther')}</fieldset>
<% for (const name of ['startsAt', 'endsAt']) { %><div class="field"><label for="<%= name %>-<%= n %>"><%= t[name] %> (<span class="zone">UTC</span>)</label>
<input type="datetime-local" step="any" id="<%= name %>-<%= n %>" name="<%= name %>" value="<%= fields[name] %>" aria-describedby="<%= name %>-h-<%= n %> <%= name %>-e-<%= n %>"<% if (wrong(name)) { %> aria-invalid="true"<% } %>>
<p class="hint" id="<%= name %>-h-<%= n %>"><%= t[name + 'Hint'] %></p><% if (wrong(name)) { %><p class="error" id="<%= name %>-e-<%= n %>"><%= t.wrongTime %></p><% } %></div>
<% } %><div class="field"><label for="retryAfter-<%= n %>"><%= t.retryAfter %></label>
<input id="retryAfter-<%= n %>" name="retryAfter" inputmode="numeric" maxlength="20" value="<%= fields.retryAfter %>" ${described('retryAfter')}>
<p class="hint" id="retryAfter-h-<%= n %>"><%= t.retryAfterHint %></p>${error('retryAfter', 'wrongRetryAfter')}</div>
<% if (it.hasBypass) { %><div class="field"><label for="bypass-<%= n %>"><%= t.bypass %></label>
<select id="bypass-<%= n %>" name="bypass" ${described('bypass')}>
<option value=""><%= look === 'open' ? t.bypassNone : t.bypassKeep %></option>
<option value="true"<% if (fields.bypass === 'true') { %> selected<% } %>><%= t.bypassMake %></option>
<% if (look !== 'open') { %><option value="false"<% if (fields.bypass === 'false') { %> selected<% } %>><%= t.bypassEnd %></option>
<% } %></select>
<p class="hint" id="bypass-h-<%= n %>"><%= t.bypassHint %></p>${error('bypass', 'wrongOther')}</div>
<% } %><fieldset class="wide"><legend><%= t.ignoreRoutes %></legend>
<p class="hint"><%= t.ignoreRoutesHint %></p>
<ul class="rows">
<% for (const [i, row] of [...fields.routes, it.emptyRow, it.emptyRow].entries()) { %>${ROW}
<% } %></ul>
<button type="button" class="add" hidden><%= t.add %></button></fieldset>
<p class="send wide"><button class="<%= look === 'open' ? 'stop' : 'keep' %>"><%= look === 'open' ? t.closeSite : t.save %></button></p>
</form>
</details>`

const ASIDE = `<aside id="aside-<%= n %>" data-part aria-labelledby="name-<%= n %>">
<section><h3><%= t.servers %></h3>
<% if (site.servers === null) { %><p class="soft"><%= t.unknown %></p>
<% } else { %><ul>
<% for (const server of site.servers) { %><li><%= server.host %>:<%= server.pid %> <b class="<%= server.pinned || server.revision >= status.revision ? 'ok' : 'late' %>"><%= server.pinned ? t.pinned : server.revision >= status.revision ? t.upToDate : t.behind %></b><br>
<span class="soft"><%= server.inFlight %> <%= t.running %>, <%= server.streams %> <%= t.streams %> · <%= t.revision %> <%= server.revision %></span></li>
<% } %></ul><% } %></section>
<section><h3><%= t.upcoming %></h3>
<% if (status.upcoming) { const next = status.upcoming %><p><%= t[next.mode === 'full' ? 'closed' : next.mode] %>: ${time('next.startsAt')}<% if (next.endsAt) { %> – ${time('next.endsAt')}<% } %></p><% if (next.message) { %><p class="soft"><%= next.message %></p><% } %>
<% } else { %><p class="soft"><%= t.noUpcoming %></p>
<% } %></section>
<section><h3><%= t.history %></h3>
<% if (site.history === null || site.history.length === 0) { %><p class="soft"><%= site.history === null ? t.unknown : t.noHistory %></p>
<% } else { %><ul>
<% for (const entry of site.history) { %><li>${time('entry.at')} <b><%= entry.on ? t[entry.mode === 'full' ? 'closed' : entry.mode] : t.opened %></b><% if (entry.by) { %> · <%= entry.by %><% } if (entry.message) { %><br><span class="soft"><%= entry.message.slice(0, 120) %></span><% } if (entry.startsAt || entry.endsAt) { %><br><span class="soft"><% if (entry.startsAt) { %><%= t.from %> ${time('entry.startsAt')} <% } if (entry.endsAt) { %><%= t.until %> ${time('entry.endsAt')}<% } %></span><% } %></li>
<% } %></ul><% } %></section>
</aside>`

/** The page, in Eta: what the script replaces while it is open are whole parts of it, so that nothing is made in the browser. */
export const TEMPLATE: string = `<% const t = it.texts %><!doctype html>
<html lang="<%= it.language %>" dir="<%= /^(ar|fa|he|ur)\\b/.test(it.language) ? 'rtl' : 'ltr' %>">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><%= t.title %></title>
<style>${STYLE}</style>
</head>
<body>
<header><h1><%= t.title %></h1><p id="live" role="status" hidden data-live="<%= t.live %>" data-lost="<%= t.lost %>"></p></header>
<main data-base="<%= it.base %>">
<noscript><p class="soft"><%= t.noScript %></p></noscript>
<% if (it.problem) { %><div class="box is-closed" role="alert"><b><%= t.problem %></b><p><%= it.problem %></p></div>
<% } if (it.sites.length > 1) { %><nav id="overview" data-part aria-label="<%= t.sites %>"><ul>
<% for (const [n, site] of it.sites.entries()) { %><li><a href="#site-<%= n %>" class="is-<%= site.look %>"><span class="look"><%= t[site.look] %></span> <%= site.name %></a></li>
<% } %></ul></nav>
<% } for (const [n, site] of it.sites.entries()) { const { status, look, fields, failure } = site; const wrong = name => failure !== null && failure.wrong.includes(name) %><section class="site" id="site-<%= n %>" aria-labelledby="name-<%= n %>">
${HEAD}
${ONCE}
<% if (!site.pinned) { %>${EDIT}
<% } %>${ASIDE}
</section>
<% } %></main>
<script type="module">${SCRIPT}</script>
</body>
</html>
`
