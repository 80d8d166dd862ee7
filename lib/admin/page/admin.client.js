/**
 * Makes the page live; without it, everything works by plain forms. It makes no HTML of its own: it fetches the page
 * and replaces parts of it. A form in which somebody types is left alone.
 */
/* global CSS, DOMParser, document, EventSource, FormData, HTMLDetailsElement, location, navigator */

const main = one(document, 'main')
const base = new URL(String(main.dataset.base), location.href)
const lang = document.documentElement.lang
const spoken = navigator.languages.find(tag => tag.split('-')[0] === lang.split('-')[0]) || lang
const format = new Intl.DateTimeFormat(spoken, { dateStyle: 'medium', timeStyle: 'short' })
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
/** The HTML of each part as the server made it, by id. */
const sources = new Map()
let sending = 0

/** @param {ParentNode} root @param {string} selector @returns {HTMLElement} */
function one (root, selector) {
  return /** @type {HTMLElement} */ (root.querySelector(selector))
}

/** @param {ParentNode} root @param {string} selector @returns {HTMLElement[]} */
function all (root, selector) {
  return [...root.querySelectorAll(selector)].map(found => /** @type {HTMLElement} */ (found))
}

/** @param {ParentNode} root @param {string} selector @returns {HTMLInputElement[]} */
const inputs = (root, selector) => all(root, selector).map(found => /** @type {HTMLInputElement} */ (found))

/** @param {ParentNode} root */
const parts = root => all(root, '[data-part]')

parts(document).forEach(place)

/** Puts times into the zone of the browser, and shows what needs a script. @param {HTMLElement} part */
function place (part) {
  sources.set(part.id, part.outerHTML)
  for (const time of all(part, 'time')) {
    time.title = String(time.textContent)
    time.textContent = format.format(new Date(String(time.getAttribute('datetime'))))
  }
  for (const name of all(part, '.zone')) name.textContent = zone
  for (const input of inputs(part, '[type=datetime-local]')) input.value = toLocal(input.value)
  for (const button of all(part, '.copy,.add,.remove')) button.hidden = false
  const rows = all(part, '.rows li')
  if (rows.length > 1) rows[rows.length - 1].remove()
}

/** @param {number} number */
function pad (number) {
  return String(number).padStart(2, '0')
}

/** @param {string} value in UTC */
function toLocal (value) {
  const time = new Date(value + 'Z')
  if (!value || isNaN(time.getTime())) return value
  const day = time.getFullYear() + '-' + pad(time.getMonth() + 1) + '-' + pad(time.getDate())
  const seconds = time.getSeconds() ? ':' + pad(time.getSeconds()) : ''
  return day + 'T' + pad(time.getHours()) + ':' + pad(time.getMinutes()) + seconds
}

/** @param {HTMLElement} form @param {string} name @returns {HTMLInputElement} */
const field = (form, name) => inputs(form, `[name=${name}]`)[0]

/**
 * @param {string} html the page
 * @param {HTMLFormElement} [sent] the form that was sent: it is replaced, and so is what is shown once
 */
function show (html, sent) {
  const fresh = new DOMParser().parseFromString(html, 'text/html')
  const site = sent?.closest('.site')
  const known = sent && field(sent, 'changedAt').value
  for (const list of all(fresh, '[data-list]')) syncList(list, sent)
  for (const part of parts(fresh)) {
    const old = document.getElementById(part.id)
    if (!old) continue
    const isBeside = site?.contains(old) === true && !old.matches('details')
    update(old, part, sent !== undefined && (old.contains(sent) || isBeside), known)
  }
}

/** Adds what is new to a list, and removes what is gone. @param {HTMLElement} list @param {HTMLElement} [sent] */
function syncList (list, sent) {
  const old = document.getElementById(list.id)
  if (!old) return
  for (const item of all(old, ':scope > *')) {
    const isDirty = item.matches('[data-dirty]') || item.querySelector('[data-dirty]')
    const isKept = isDirty && !item.contains(sent ?? null)
    if (!isKept && !list.querySelector('#' + CSS.escape(item.id))) item.remove()
  }
  all(list, ':scope > *').forEach((item, i) => {
    if (document.getElementById(item.id)) return
    old.insertBefore(item, old.children[i] ?? null)
    if (item.matches('[data-part]')) place(item)
    parts(item).forEach(place)
  })
}

/**
 * @param {HTMLElement} old
 * @param {HTMLElement} part
 * @param {boolean} isSent
 * @param {string} [known] what the sent form knew
 */
function update (old, part, isSent, known) {
  if (!isSent && (sources.get(part.id) === part.outerHTML || part.dataset.part === 'once')) return
  if (!isSent && 'dirty' in old.dataset && 'dirty' in part.dataset === false) return keep(old, part, known)
  const focused = old.contains(document.activeElement) && document.activeElement?.id
  if (part instanceof HTMLDetailsElement && !('dirty' in part.dataset)) {
    part.open = !isSent && /** @type {HTMLDetailsElement} */ (old).open
  }
  const html = part.outerHTML
  old.replaceWith(part)
  place(part)
  if (focused) document.getElementById(focused)?.focus()
  sources.set(part.id, html)
}

/**
 * Leaves a form alone in which somebody types.
 * @param {HTMLElement} old
 * @param {HTMLElement} part
 * @param {string} [known]
 */
function keep (old, part, known) {
  const before = field(old, 'changedAt')
  const after = field(part, 'changedAt')
  if (before.value === after.value) return
  if (before.value === known) {
    // the change was made here, so there is nobody to warn of
    before.value = after.value
    field(old, 'expectedRevision').value = field(part, 'expectedRevision').value
    return
  }
  warn(old)
}

/** @param {Element} form */
function warn (form) {
  one(/** @type {HTMLElement} */ (form.closest('.site')), '.stale').hidden = false
}

/** Warns of forms whose window is gone. @param {string} fresh the page */
function warnOrphans (fresh) {
  for (const form of all(document, 'details[data-dirty]')) if (!fresh.includes(`id="${form.id}"`)) warn(form)
}

async function refresh () {
  if (sending || document.hidden) return
  const answer = await fetch(base)
  const html = await answer.text()
  if (!answer.ok || sending) return
  show(html)
  warnOrphans(html)
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let asked
function refreshSoon () {
  clearTimeout(asked)
  asked = setTimeout(() => refresh().catch(() => {}), 50)
}

/** @param {Element} element */
function markDirty (element) {
  const edit = /** @type {HTMLElement | null} */ (element.closest('details'))
  if (edit) edit.dataset.dirty = ''
}

document.addEventListener('input', event => markDirty(/** @type {Element} */ (event.target)))

// a key that is hit by mistake must not close a site
document.addEventListener('keydown', event => {
  const target = /** @type {HTMLElement} */ (event.target)
  if (event.key !== 'Enter' || !target.matches('.edit input')) return
  event.preventDefault()
  if (target.closest('.rows')) one(/** @type {HTMLElement} */ (target.closest('fieldset')), '.add').click()
})

document.addEventListener('click', event => {
  const button = /** @type {Element} */ (event.target).closest('button')
  if (!button || button.type !== 'button') return
  markDirty(button)
  if (button.matches('.add')) addRow(button)
  else if (button.matches('.remove')) removeRow(button)
  else if (button.matches('.copy')) copy(button).catch(() => {})
})

/** @param {HTMLElement} button */
function addRow (button) {
  const rows = one(/** @type {HTMLElement} */ (button.closest('fieldset')), '.rows')
  const row = /** @type {HTMLElement} */ (/** @type {HTMLElement} */ (rows.lastElementChild).cloneNode(true))
  row.querySelector('.error')?.remove()
  for (const input of inputs(row, 'input')) {
    input.value = ''
    input.removeAttribute('aria-invalid')
    const label = String(input.getAttribute('aria-label'))
    input.setAttribute('aria-label', label.replace(/\d+$/, String(rows.children.length + 1)))
  }
  rows.append(row)
  one(row, 'input').focus()
}

/** @param {HTMLElement} button */
function removeRow (button) {
  const row = /** @type {HTMLElement} */ (button.closest('li'))
  const next = /** @type {HTMLElement | null} */ (row.nextElementSibling ?? row.previousElementSibling)
  if (next) row.remove()
  else for (const input of inputs(row, 'input')) input.value = ''
  one(next ?? row, 'input').focus()
}

/** @param {HTMLElement} button */
async function copy (button) {
  const input = /** @type {HTMLInputElement} */ (button.previousElementSibling)
  input.select()
  await (navigator.clipboard ? navigator.clipboard.writeText(input.value) : document.execCommand('copy'))
  button.textContent = String(button.dataset.done)
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} submitter */
function dataOf (form, submitter) {
  const data = new URLSearchParams()
  for (const [name, value] of new FormData(form)) data.append(name, String(value))
  const { name, value } = /** @type {HTMLButtonElement} */ (submitter ?? {})
  if (name) data.set(name, value)
  for (const name of ['startsAt', 'endsAt']) {
    const time = data.get(name)
    if (time && !isNaN(new Date(time).getTime())) data.set(name, new Date(time).toISOString())
  }
  return data
}

document.addEventListener('submit', event => {
  event.preventDefault()
  send(/** @type {HTMLFormElement} */ (event.target), event.submitter)
})

/** @param {HTMLFormElement} form @param {HTMLElement | null} submitter */
async function send (form, submitter) {
  const site = /** @type {HTMLElement} */ (form.closest('.site'))
  const data = dataOf(form, submitter)
  const buttons = inputs(form, 'button:not([type])')
  sending++
  for (const button of buttons) button.disabled = true
  one(site, '.failed').hidden = true
  try {
    // form.action is the field of that name
    const url = new URL(String(form.getAttribute('action')), location.href)
    const answer = await fetch(url, { method: 'POST', body: data })
    const html = await answer.text()
    const type = answer.headers.get('content-type') || ''
    if (!type.startsWith('text/html') || !html.includes('data-base')) throw new Error(String(answer.status))
    show(html, form)
    ;(one(site, '.box:not([hidden])') || one(site, 'h2')).focus()
  } catch {
    one(site, '.failed').hidden = false
  }
  for (const button of buttons) button.disabled = false
  sending--
  refreshSoon()
}

const live = one(document, '#live')
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
/** @type {ReturnType<typeof setTimeout> | undefined} */
let again
/** Not in a hidden tab: browsers allow six connections to a host. */
function listen () {
  clearTimeout(again)
  events?.close()
  if (document.hidden) return
  const source = events = new EventSource(new URL('events', base))
  source.onopen = () => tell('live')
  source.addEventListener('state', refreshSoon)
  source.onerror = () => {
    tell('lost')
    if (source.readyState === EventSource.CLOSED) again = setTimeout(listen, 3000)
  }
}
listen()
document.addEventListener('visibilitychange', listen)
setInterval(refreshSoon, 4000)
