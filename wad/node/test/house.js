/** For tests: a bridge as a child, with the parent's store in memory, beside an emulator. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { run } from './child.js'
import { emulator } from './web.js'

const MAIN = fileURLToPath(new URL('../bridge/main.js', import.meta.url))

/** What the parent keeps: it outlives the bridge. */
export class Store {
	/** session → kind → id → text */
	tables = new Map()
	/** session → message id → content, for retries */
	sent = new Map()
	/** Whether it takes no credentials. */
	refusing = false
	/** What transactions wait for. */
	held = null
	/** How many transactions came. */
	sets = 0
	/** Hears what each of them brought, once it is written. */
	written = (_data) => {}

	table(session) {
		if (!this.tables.has(session)) this.tables.set(session, {})
		return this.tables.get(session)
	}

	creds(session) {
		return this.table(session).creds?.creds ?? null
	}

	get calls() {
		return {
			'keys.get': ({ session, type, ids }) => {
				const kind = this.table(session)[type] ?? {}
				return Object.fromEntries(ids.filter((id) => id in kind).map((id) => [id, kind[id]]))
			},
			'keys.set': async ({ session, data }) => {
				await this.held
				this.sets += 1
				for (const [type, values] of Object.entries(data)) {
					const kind = (this.table(session)[type] ??= {})
					for (const [id, text] of Object.entries(values)) {
						if (text === null) delete kind[id]
						else kind[id] = text
					}
				}
				this.written(data)
				return {}
			},
			'creds.set': ({ session, creds }) => {
				if (this.refusing) throw Object.assign(new Error('no room'), { code: 'refused' })
				this.table(session).creds = { creds }
				return {}
			},
			'message.get': ({ session, key }) => this.sent.get(`${session} ${key.id}`) ?? null,
		}
	}
}

/** An emulator, a store, and bridges that come and go. All ends with the test. */
export async function house(t, settings) {
	const web = await emulator(t, settings)
	const dir = mkdtempSync(join(tmpdir(), 'wad-bridge-'))
	const store = new Store()
	const bridges = []
	let ids = 0
	t.after(async () => {
		await Promise.all(bridges.map((bridge) => bridge.end()))
		rmSync(dir, { recursive: true, force: true })
	})
	const home = {
		web,
		dir,
		store,
		/** Start a bridge; `acking: false` leaves its events unacknowledged. */
		bridge({ acking = true, flags = [] } = {}) {
			const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(web.dir, 'cert.pem') }
			const peer = run([...flags, MAIN], { calls: store.calls, acking, env })
			bridges.push(peer)
			return {
				...peer,
				/** Open a session with what the store has of it. */
				open: (session, more = {}) =>
					peer.call('open', {
						session,
						creds: store.creds(session),
						settings: {
							url: web.url, version: null, browser: null, rootKey: web.rootKey, spool: join(dir, 'spool'),
							mediaDir: dir, markOnline: true, ...more,
						},
					}),
				/** An event of a session, told already or still to come. */
				told: (session, name, wanted = () => true) =>
					peer.event(({ event, args }) => event === name && args.session === session && wanted(args)).then(({ args }) => args),
				/** Send `content`; a fresh id unless one is given. */
				send(session, phone, content, more = {}) {
					const id = more.id ?? `3EB0${String(++ids).padStart(18, '0')}`
					store.sent.set(`${session} ${id}`, { content })
					const jid = phone.includes('@') ? phone : `${phone}@s.whatsapp.net`
					return peer.call('send', { session, id, jid, content, quoted: null, check: false, ...more })
				},
				/** The message with this id, as it was told. */
				message: (session, id) =>
					peer
						.event(({ event, args }) => event === 'messages' && args.session === session && args.messages.some((each) => each.key.id === id && each.message))
						.then(({ args }) => args.messages.find((each) => each.key.id === id)),
			}
		},
		/** A bridge with `session` paired with `phone`, and open. */
		async paired(session, phone, options) {
			const bridge = home.bridge(options)
			await home.pair(bridge, session, phone)
			return bridge
		},
		/** A person was shown the message with this id. */
		shown: (id) => web.event(({ event, args }) => event === 'message' && args.id === id),
		async pair(bridge, session, phone) {
			const before = bridge.events.length
			await bridge.open(session)
			const fresh = (event) => event.event === 'qr' && event.args.session === session && bridge.events.indexOf(event) >= before
			const { qr } = (await bridge.event(fresh)).args
			await web.call('scan', { qr, phone })
			return bridge.told(session, 'open')
		},
	}
	return home
}
