// Keeps the page up to date; without it, everything works with plain forms. It writes no HTML: it fetches the page and
// replaces the parts that changed. A form in which somebody types is left alone.
const main = document.querySelector('main')
const base = new URL(main.dataset.base, location.href)
const lang = document.documentElement.lang
const spoken = navigator.languages.find(tag => tag.split('-')[0] === lang.split('-')[0]) || lang
const format = new Intl.DateTimeFormat(spoken, { dateStyle: 'medium', timeStyle: 'short' })
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
/** The HTML of each part as the server sent it. */
const source = new Map()
let sending = 0

/** @param {ParentNode} root @returns {NodeListOf<HTMLElement>} */
const parts = root => root.querySelectorAll('[data-part]')

/** @param {number} number */
const pad = number => String(number).padStart(2, '0')

/** @param {Element} root @returns {NodeListOf<HTMLInputElement>} */
const inputsIn = root => root.querySelectorAll('input')

/** @param {Element} root @param {string} selector @returns {HTMLInputElement} */
const inputIn = (root, selector) => root.querySelector(selector)

/** @param {Element} root @param {string} selector @returns {HTMLElement | null} */
const elementIn = (root, selector) => root.querySelector(selector)

/** @param {Element} root @param {string} selector @param {boolean} hidden */
function setHidden (root, selector, hidden) {
  for (const element of root.querySelectorAll(selector)) element.toggleAttribute('hidden', hidden)
}

for (const part of parts(document)) place(part)

/** @param {HTMLElement} part */
function place (part) {
  source.set(part.id, part.outerHTML)
  for (const time of part.querySelectorAll('time')) {
    time.title = time.textContent
    time.textContent = format.format(new Date(time.dateTime))
  }
  for (const name of part.querySelectorAll('.zone')) name.textContent = zone
  for (const input of inputsIn(part)) if (input.type === 'datetime-local') input.value = toLocal(input.value)
  setHidden(part, '.copy, .add, .remove', false)
  const rows = part.querySelector('.rows')
  if (rows && part.querySelectorAll('.rows li').length > 1) rows.lastElementChild.remove()
}

/** A UTC time in the browser's zone. @param {string} value */
function toLocal (value) {
  const time = new Date(value + 'Z')
  if (!value || isNaN(Number(time))) return value
  const day = time.getFullYear() + '-' + pad(time.getMonth() + 1) + '-' + pad(time.getDate())
  const seconds = time.getSeconds() ? ':' + pad(time.getSeconds()) : ''
  return day + 'T' + pad(time.getHours()) + ':' + pad(time.getMinutes()) + seconds
}

/**
 * @param {string} html
 * @param {Element} [site] whose form was sent: all of it is replaced, with what was typed and what is shown once
 */
function show (html, site) {
  const fresh = new DOMParser().parseFromString(html, 'text/html')
  for (const part of parts(fresh)) {
    const old = document.getElementById(part.id)
    if (!old) continue
    const sent = site?.contains(old)
    if (!sent && (source.get(part.id) === part.outerHTML || part.dataset.part === 'once')) continue
    if (!sent && 'dirty' in old.dataset) {
      const [fresh, known] = [part, old].map(form => inputIn(form, '[name=expectedRevision]').value)
      if (fresh !== known) setHidden(old.parentElement, '.stale', false)
      continue
    }
    const focused = old.contains(document.activeElement) && document.activeElement.id
    if (part.matches('details:not([data-dirty])')) part.toggleAttribute('open', old.hasAttribute('open'))
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

/** @type {number} */
let asked
function refreshSoon () {
  clearTimeout(asked)
  asked = setTimeout(() => refresh().catch(() => {}), 50)
}

/** @param {Event} event @returns {HTMLElement} */
const targetOf = event => /** @type {HTMLElement} */ (event.target)

document.addEventListener('input', event => {
  const edit = targetOf(event).closest('details')
  if (edit) edit.dataset.dirty = ''
})

// Enter pressed by mistake must not close a site
document.addEventListener('keydown', event => {
  const target = targetOf(event)
  if (event.key !== 'Enter' || !target.matches('.edit input')) return
  event.preventDefault()
  if (target.closest('.rows')) elementIn(target.closest('fieldset'), '.add').click()
})

document.addEventListener('click', async event => {
  const button = targetOf(event).closest('button')
  if (!button || button.type !== 'button') return
  const edit = button.closest('details')
  if (edit) edit.dataset.dirty = ''
  if (button.matches('.add')) {
    const rows = edit.querySelector('.rows')
    const row = /** @type {Element} */ (rows.lastElementChild.cloneNode(true))
    row.querySelector('.error')?.remove()
    for (const input of inputsIn(row)) {
      input.value = ''
      input.removeAttribute('aria-invalid')
      const label = input.getAttribute('aria-label')
      input.setAttribute('aria-label', label.replace(/\d+$/, String(rows.children.length + 1)))
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
    const input = /** @type {HTMLInputElement} */ (button.previousElementSibling)
    input.select()
    await (navigator.clipboard ? navigator.clipboard.writeText(input.value) : document.execCommand('copy'))
    button.textContent = button.dataset.done
  }
})

document.addEventListener('submit', async event => {
  event.preventDefault()
  const form = /** @type {HTMLFormElement} */ (event.target)
  const site = form.closest('.site')
  /** @type {HTMLButtonElement} */
  const button = form.querySelector('button:not([type])')
  const data = new URLSearchParams()
  new FormData(form).forEach((value, name) => data.append(name, String(value)))
  for (const name of ['startsAt', 'endsAt']) {
    const value = data.get(name)
    if (value && !isNaN(Date.parse(value))) data.set(name, new Date(value).toISOString())
  }
  sending++
  button.disabled = true
  setHidden(site, '.failed', true)
  try {
    const answer = await fetch(form.action, { method: 'POST', body: data })
    const type = answer.headers.get('content-type') || ''
    const html = await answer.text()
    if (!type.startsWith('text/html') || !html.includes('data-base')) throw new Error(String(answer.status))
    show(html, site)
    const shown = elementIn(site, '.box:not([hidden])') ?? elementIn(site, 'h2')
    shown.focus()
  } catch {
    setHidden(site, '.failed', false)
  }
  button.disabled = false
  sending--
  refreshSoon()
})

const live = document.getElementById('live')
/** @param {'live' | 'lost'} state */
function tell (state) {
  if (live.dataset.now === state) return
  live.dataset.now = state
  live.hidden = false
  live.className = state
  live.textContent = live.dataset[state] + (state === 'live' ? ' · ' + zone : '')
}

/** @type {EventSource | undefined} */
let events
/** @type {number} */
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
