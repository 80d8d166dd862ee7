// npx tsx --tsconfig examples/nestjs/tsconfig.json examples/nestjs/main.ts
import { createShop } from './app.ts'

const app = await createShop({ store: { file: process.env.MAINTENANCE_FILE ?? './maintenance.json' } })
app.enableShutdownHooks()
await app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1')
console.log(`listening at ${await app.getUrl()}`)
