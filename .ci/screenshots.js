// Makes the pictures of the README and the documentation again: npm run screenshots (needs chromium, and the build).
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { crc32, deflateSync } from 'node:zlib'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
import maintenanceAdmin from 'fastify-maintenance/admin'
import { chromium } from 'playwright-core'
import { LOOKS, show, windowOf } from '../test/fixtures/looks.ts'

const folder = fileURLToPath(new URL('../docs/images/', import.meta.url))
const MAX_BYTES = 80_000
// the pictures are the same each time, whatever the day: for pages, and for what the server writes into them
const NOW = Date.parse('2026-12-01T09:30:00Z')
const realNow = Date.now
const offset = NOW - realNow()
Date.now = () => realNow() + offset

const app = Fastify()
await app.register(maintenance, {
  site: 'shop', bypass: {}, schedule: { cron: '0 1 * * sun', duration: '1h', timeZone: 'UTC', message: 'Weekly backup' }
})
await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => 'Maria' })
const address = await app.listen({ port: 0, host: '127.0.0.1' })
await app.maintenance.set(true, { by: 'Nils', message: 'A first try' })
await app.maintenance.set(false, { by: 'Nils' })
await app.maintenance.set(true, {
  by: 'Maria',
  message: 'We are moving into a bigger house.\nYour cart is kept.',
  endsAt: '2026-12-01T11:00:00Z',
  ignoreRoutes: [{ pattern: '/checkout/*', description: 'Orders under way' }]
})

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--force-color-profile=srgb'
  ]
})
mkdirSync(folder, { recursive: true })

async function take (name, url, { width, height, fullPage = false, ...options }) {
  const context = await browser.newContext({
    locale: 'en-GB', timezoneId: 'UTC', viewport: { width, height }, ...options
  })
  const page = await context.newPage()
  await page.clock.setFixedTime(NOW)
  await page.goto(`${address}${url}`)
  if (url.startsWith('/maintenance')) await page.getByText(/^Live/).waitFor()
  await save(name, await page.screenshot({ fullPage }), MAX_BYTES)
  await context.close()
}

async function save (name, png, maxBytes) {
  const picture = await withPalette(png)
  writeFileSync(`${folder}${name}.png`, picture)
  console.log(`docs/images/${name}.png: ${picture.length} bytes`)
  if (picture.length > maxBytes) throw new Error(`${name}.png is larger than ${maxBytes} bytes`)
}

/** All looks of the visitors' page in one picture. */
async function takeContactSheet () {
  const figures = []
  for (const look of LOOKS) {
    const picture = await takeLook(look)
    figures.push(`<figure><img src="data:image/png;base64,${picture.toString(
      'base64'
    )}"><figcaption>${look.name}</figcaption></figure>`)
  }
  const page = await browser.newPage({ viewport: { width: 1640, height: 800 } })
  await page.setContent(`<style>
    body { margin: 0; padding: 16px; display: grid; grid-template-columns: repeat(4, 1fr); gap: 16px; background: #ddd; font: 15px system-ui, sans-serif }
    figure { margin: 0; text-align: center }
    img { display: block; width: 100%; height: 225px; margin-bottom: 4px; object-fit: contain }
  </style>${figures.join('')}`)
  await save('page-looks', await page.screenshot({ fullPage: true }), 2 * MAX_BYTES)
  await page.close()
}

async function takeLook (look) {
  const app = Fastify()
  await app.register(maintenance, look.plugin)
  app.get('/page', { config: { maintenance: 'write' } }, async () => 'open')
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, windowOf(look, NOW))
  while (!app.maintenance.active) await new Promise(resolve => setTimeout(resolve, 50))
  const context = await browser.newContext({
    locale: 'en-GB', timezoneId: 'UTC', viewport: { width: 800, height: 450 }, ...look.context
  })
  const page = await context.newPage()
  await page.clock.setFixedTime(NOW)
  await show(page, `${address}/page`, look)
  const picture = await page.screenshot()
  await context.close()
  await app.close()
  return picture
}

/**
 * A picture of at most 64 colours, which is enough for text on plain grounds, in a third of the bytes. The browser
 * counts the colours.
 */
async function withPalette (png) {
  const context = await browser.newContext()
  const page = await context.newPage()
  const { width, height, palette, pixels } = await page.evaluate(async base64 => {
    const { createImageBitmap, OffscreenCanvas } = globalThis
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob())
    const { width, height } = image
    const context = new OffscreenCanvas(width, height).getContext('2d')
    context.drawImage(image, 0, 0)
    const { data } = context.getImageData(0, 0, width, height)
    const colours =
      new Uint32Array(width * height).map((_, i) => data[4 * i] << 16 | data[4 * i + 1] << 8 | data[4 * i + 2])
    const counts = new Map()
    for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1)
    const channels = colour => [colour >> 16, colour >> 8 & 255, colour & 255]
    const distance = (a, b) => channels(a).reduce((sum, value, i) => sum + (value - channels(b)[i]) ** 2, 0)
    const palette = []
    // the frequent ones first, and none that is nearly there
    for (const [colour] of [...counts].sort((a, b) => b[1] - a[1])) {
      if (palette.length < 64 && palette.every(known => distance(known, colour) > 200 || counts.get(colour) > 2000)) {
        palette.push(colour)
      }
    }
    const nearest = new Map([...counts.keys()].map(colour => [
      colour,
      palette.reduce((best, known, i) => distance(known, colour) < distance(palette[best], colour) ? i : best, 0)
    ]))
    let pixels = ''
    for (const colour of colours) pixels += String.fromCharCode(nearest.get(colour))
    return { width, height, palette: palette.map(channels), pixels: btoa(pixels) }
  }, png.toString('base64'))
  await context.close()
  const rows = Buffer.from(pixels, 'base64')
  const lines = Buffer.concat(Array.from({ length: height }, (_, y) => Buffer.concat([
    Buffer.alloc(1), rows.subarray(y * width, (y + 1) * width)
  ])))
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 3], 8)
  return Buffer.concat([
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.from(palette.flat())),
    chunk('IDAT', deflateSync(lines, { level: 9 })),
    chunk('IEND', Buffer.alloc(0))
  ])
}

/** PNG, section 5.3: length, name, data, CRC. */
function chunk (name, data) {
  const named = Buffer.concat([Buffer.from(name), data])
  const frame = Buffer.alloc(8)
  frame.writeUInt32BE(data.length, 0)
  frame.writeUInt32BE(crc32(named), 4)
  return Buffer.concat([frame.subarray(0, 4), named, frame.subarray(4)])
}

const page = { width: 800, height: 360 }
await take('page-light', '/', { ...page, colorScheme: 'light' })
await take('page-dark', '/', { ...page, colorScheme: 'dark' })
await takeContactSheet()
const admin = { width: 1000, height: 700, fullPage: true }
await take('admin-light', '/maintenance/', { ...admin, colorScheme: 'light' })
await take('admin-dark', '/maintenance/', { ...admin, colorScheme: 'dark' })
await take('admin-phone', '/maintenance/', { width: 390, height: 844, colorScheme: 'light' })

await browser.close()
await app.close()
