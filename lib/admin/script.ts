/**
 * Makes the page live and comfortable; without it, everything works by plain forms. It makes no HTML of its own: it fetches the
 * page and puts its parts in place of the old ones. A form in which somebody types is left alone.
 */
export const SCRIPT: string = `
const main = document.querySelector('main')
const base = new URL(main.dataset.base, location.href)
const lang = document.documentElement.lang
const spoken = navigator.languages.find(tag => tag.split('-')[0] === lang.split('-')[0]) || lang
const format = new Intl.DateTimeFormat(spoken, { dateStyle: 'medium', timeStyle: 'short' })
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
const parts = root => root.querySelectorAll('[data-part]')
const source = new Map()
const pad = number => String(number).padStart(2, '0')
let sending = 0

for (const part of parts(document)) place(part)

function place (part) {
  source.set(part.id, part.outerHTML)
  for (const time of part.querySelectorAll('time')) {
    time.title = time.textContent
    time.textContent = format.format(new Date(time.dateTime))
  }
  for (const name of part.querySelectorAll('.zone')) name.textContent = zone
  for (const input of part.querySelectorAll('[type=datetime-local]')) input.value = toLocal(input.value)
  for (const button of part.querySelectorAll('.copy,.add,.remove')) button.hidden = false
  const rows = part.querySelector('.rows')
  if (rows && part.querySelectorAll('.rows li').length > 1) rows.lastElementChild.remove()
}

function toLocal (value) {
  const time = new Date(value + 'Z')
  if (!value || isNaN(time)) return value
  const day = time.getFullYear() + '-' + pad(time.getMonth() + 1) + '-' + pad(time.getDate())
  return day + 'T' + pad(time.getHours()) + ':' + pad(time.getMinutes()) + (time.getSeconds() ? ':' + pad(time.getSeconds()) : '')
}

/** @param site whose form was sent: all of it is new, what was typed and what is shown once too */
function show (html, site) {
  const fresh = new DOMParser().parseFromString(html, 'text/html')
  for (const part of parts(fresh)) {
    const old = document.getElementById(part.id)
    if (!old) continue
    const sent = site?.contains(old)
    if (!sent && (source.get(part.id) === part.outerHTML || part.dataset.part === 'once')) continue
    if (!sent && 'dirty' in old.dataset) {
      const revision = form => form.querySelector('[name=expectedRevision]').value
      if (revision(part) !== revision(old)) old.parentElement.querySelector('.stale').hidden = false
      continue
    }
    const focused = old.contains(document.activeElement) && document.activeElement.id
    if (part.tagName === 'DETAILS' && !('dirty' in part.dataset)) part.open = old.open
    const html = part.outerHTML
    old.replaceWith(part)
    place(part)
    if (focused) document.getElementById(focused)?.focus()
    source.set(part.id, html)
  }
  return fresh
}

async function refresh () {
  if (sending || document.hidden) return
  const answer = await fetch(base)
  const html = await answer.text()
  if (answer.ok && !sending) show(html)
}

let asked
function refreshSoon () {
  clearTimeout(asked)
  asked = setTimeout(() => refresh().catch(() => {}), 50)
}

document.addEventListener('input', event => {
  const edit = event.target.closest('details')
  if (edit) edit.dataset.dirty = ''
})

// a key that is hit by mistake closes no site
document.addEventListener('keydown', event => {
  if (event.key !== 'Enter' || !event.target.matches('.edit input')) return
  event.preventDefault()
  if (event.target.closest('.rows')) event.target.closest('fieldset').querySelector('.add').click()
})

document.addEventListener('click', async event => {
  const button = event.target.closest('button')
  if (!button || button.type !== 'button') return
  const edit = button.closest('details')
  if (edit) edit.dataset.dirty = ''
  if (button.matches('.add')) {
    const rows = edit.querySelector('.rows')
    const row = rows.lastElementChild.cloneNode(true)
    row.querySelector('.error')?.remove()
    for (const input of row.querySelectorAll('input')) {
      input.value = ''
      input.removeAttribute('aria-invalid')
      input.setAttribute('aria-label', input.getAttribute('aria-label').replace(/\\d+$/, rows.children.length + 1))
    }
    rows.append(row)
    row.querySelector('input').focus()
  } else if (button.matches('.remove')) {
    const row = button.closest('li')
    const next = row.nextElementSibling || row.previousElementSibling
    if (next) row.remove()
    else for (const input of row.querySelectorAll('input')) input.value = ''
    ;(next || row).querySelector('input').focus()
  } else if (button.matches('.copy')) {
    const input = button.previousElementSibling
    input.select()
    await (navigator.clipboard ? navigator.clipboard.writeText(input.value) : document.execCommand('copy'))
    button.textContent = button.dataset.done
  }
})

document.addEventListener('submit', async event => {
  event.preventDefault()
  const form = event.target
  const site = form.closest('.site')
  const button = form.querySelector('button:not([type])')
  const data = new URLSearchParams(new FormData(form))
  for (const name of ['startsAt', 'endsAt']) {
    const value = data.get(name)
    if (value && !isNaN(new Date(value))) data.set(name, new Date(value).toISOString())
  }
  sending++
  button.disabled = true
  site.querySelector('.failed').hidden = true
  try {
    const answer = await fetch(form.action, { method: 'POST', body: data })
    const type = answer.headers.get('content-type') || ''
    if (!type.startsWith('text/html') || !(await answer.clone().text()).includes('data-base')) throw new Error(answer.status)
    show(await answer.text(), site)
    ;(site.querySelector('.box:not([hidden])') || site.querySelector('h2')).focus()
  } catch {
    site.querySelector('.failed').hidden = false
  }
  button.disabled = false
  sending--
  refreshSoon()
})

const live = document.getElementById('live')
function tell (state) {
  if (live.dataset.now === state) return
  live.dataset.now = state
  live.hidden = false
  live.className = state
  live.textContent = live.dataset[state] + (state === 'live' ? ' · ' + zone : '')
}

let events
let again
/** Not in a hidden tab: browsers allow six connections to a host. */
function listen () {
  clearTimeout(again)
  events?.close()
  if (document.hidden) return
  events = new EventSource(new URL('events', base))
  events.onopen = () => tell('live')
  events.addEventListener('state', refreshSoon)
  events.onerror = () => {
    tell('lost')
    if (events.readyState === EventSource.CLOSED) again = setTimeout(listen, 3000)
  }
}
listen()
document.addEventListener('visibilitychange', listen)
setInterval(refreshSoon, 4000)
`
