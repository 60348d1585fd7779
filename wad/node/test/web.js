/** For tests: an emulator as a child, and real Baileys clients that know its root key, with the check that rc14 leaves out. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import * as B from '@whiskeysockets/baileys'

import { verified } from '../emulator/curve.js'
import { run } from './child.js'

// libsignal prints session records; a test's output is no place for them.
for (const name of ['log', 'info', 'warn', 'error', 'debug']) console[name] = () => {}

// Baileys leaves timers of up to 60 s behind its closed sockets; no test shall wait for them.
const { setTimeout: timer } = globalThis
globalThis.setTimeout = (work, ms, ...args) => (ms > 15_000 ? timer(work, ms, ...args).unref() : timer(work, ms, ...args))

B.Curve.verify = (key, bytes, signature) => verified(Buffer.from(key), bytes, signature)

const silent = { level: 'silent', child: () => silent, trace() {}, debug() {}, info() {}, warn() {}, error() {}, fatal() {} }

/** Start an emulator; `call`, `event` and `events` as in child.js. It ends with the test. */
export async function emulator(t, settings = {}) {
	const dir = mkdtempSync(join(tmpdir(), 'wad-web-'))
	const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
	execFileSync(
		'openssl',
		[
			'req',
			'-x509',
			'-newkey',
			'ec',
			'-pkeyopt',
			'ec_paramgen_curve:prime256v1',
			'-nodes',
			'-days',
			'2',
			'-keyout',
			keyFile,
			'-out',
			certFile,
			'-subj',
			'/CN=localhost',
			'-addext',
			'subjectAltName=IP:127.0.0.1',
		],
		{ stdio: 'ignore' },
	)
	const peer = run([fileURLToPath(new URL('../emulator/main.js', import.meta.url))])
	const started = await peer.call('start', { tls: { certFile, keyFile }, dir: join(dir, 'media') })
	B.WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(started.rootKey, 'hex')
	if (Object.keys(settings).length) await peer.call('settings', settings)
	const clients = []
	t.after(async () => {
		for (const client of clients) client.kill()
		await peer.end()
		rmSync(dir, { recursive: true, force: true })
	})
	return {
		...peer,
		...started,
		dir,
		/** A Baileys client that is not paired yet. */
		client(options) {
			const client = new Client(started.url, options)
			clients.push(client)
			return client
		},
		/** A client that is paired with `phone`, open, and has its history: before that it holds messages back for 20 s. */
		async linked(phone, options) {
			const client = this.client(options)
			await client.connect()
			await peer.call('scan', { qr: await client.qr(), phone })
			await client.opened()
			await client.updatesOfCreds.first(({ accountSyncCounter }) => accountSyncCounter, 'its history')
			return client
		},
		/** The ledger's entry of a message, once `ready(entry)` holds. */
		async entry(id, ready = () => true) {
			for (let tries = 0; ; tries++) {
				const { entries } = await peer.call('ledger', {})
				const found = entries.find((each) => each.id === id)
				if (found && ready(found)) return found
				if (tries > 400) throw new Error(`no such entry ${id}: ${JSON.stringify(found)}; log ${peer.log().slice(-2000)}`)
				await new Promise((resolve) => setTimeout(resolve, 25))
			}
		},
	}
}

/** What several tests wait for: something that was heard already, or will be. */
class Heard {
	items = []
	#waiting = []

	push(item) {
		this.items.push(item)
		this.#waiting = this.#waiting.filter((check) => !check())
	}

	first(wanted, what = String(wanted)) {
		return new Promise((resolve, reject) => {
			const check = () => {
				const found = this.items.find(wanted)
				if (found === undefined) return false
				clearTimeout(limit)
				resolve(found)
				return true
			}
			const limit = setTimeout(
				() => reject(new Error(`not heard: ${what}; heard ${JSON.stringify(this.items).slice(-1500)}`)),
				15_000,
			)
			if (!check()) this.#waiting.push(check)
		})
	}
}

/** One session of Baileys: keys in memory, reconnects after 515 alone, and remembers all that it hears. */
export class Client {
	connections = new Heard()
	messages = new Heard()
	updates = new Heard()
	receipts = new Heard()
	presences = new Heard()
	groups = new Heard()
	acks = new Heard()
	updatesOfCreds = new Heard()
	sent = new Map()
	/** Outlives sockets, as a bridge's does: else every first send after a reconnect begins a new session. */
	devices = new Map()

	constructor(url, { options = {} } = {}) {
		this.url = url
		this.options = options
		this.tables = {}
		this.creds = B.initAuthCreds()
		this.devices.del = (key) => this.devices.delete(key)
	}

	/** Keys as JSON text, as a store would keep them. */
	get keys() {
		return {
			get: async (type, ids) => {
				const table = this.tables[type] ?? {}
				return Object.fromEntries(
					ids.filter((id) => table[id] !== undefined).map((id) => [id, JSON.parse(table[id], B.BufferJSON.reviver)]),
				)
			},
			set: async (data) => {
				for (const [type, values] of Object.entries(data)) {
					const table = (this.tables[type] ??= {})
					for (const [id, value] of Object.entries(values)) {
						if (value === null || value === undefined) delete table[id]
						else table[id] = JSON.stringify(value, B.BufferJSON.replacer)
					}
				}
			},
		}
	}

	async connect() {
		this.sock = B.default({
			waWebSocketUrl: this.url,
			auth: { creds: this.creds, keys: this.keys },
			browser: B.Browsers.ubuntu('Chrome'),
			logger: silent,
			retryRequestDelayMs: 10,
			emitOwnEvents: false,
			getMessage: async ({ id }) => this.sent.get(id),
			userDevicesCache: this.devices,
			...this.options,
		})
		const { sock } = this
		sock.ws.on('CB:ack,class:message', ({ attrs }) => this.acks.push(attrs))
		sock.ev.on('creds.update', (update) => {
			Object.assign(this.creds, update)
			this.updatesOfCreds.push(update)
		})
		sock.ev.on('connection.update', (update) => {
			this.connections.push(update)
			const code = update.lastDisconnect?.error?.output?.statusCode
			if (update.connection === 'close' && code === 515 && this.sock === sock) this.connect()
		})
		sock.ev.on('messages.upsert', ({ messages, type }) =>
			messages.forEach((message) => this.messages.push({ type, ...message })),
		)
		sock.ev.on('messages.update', (updates) => updates.forEach((update) => this.updates.push(update)))
		sock.ev.on('message-receipt.update', (updates) => updates.forEach((update) => this.receipts.push(update)))
		sock.ev.on('presence.update', (update) => this.presences.push(update))
		sock.ev.on('groups.upsert', (groups) => groups.forEach((group) => this.groups.push(group)))
		return this
	}

	async qr() {
		return (await this.connections.first(({ qr }) => qr, 'a QR')).qr
	}

	opened() {
		return this.connections.first(({ connection }) => connection === 'open', 'open')
	}

	/** The close code of this connection. */
	async closed() {
		const { lastDisconnect } = await this.connections.first(
			({ connection, lastDisconnect }) => connection === 'close' && lastDisconnect.error?.output?.statusCode !== 515,
			'a close',
		)
		return lastDisconnect.error.output.statusCode
	}

	/** Connect again with the same keys, as after a crash. */
	async again() {
		this.kill()
		this.connections = new Heard()
		return this.connect()
	}

	/** Break the connection as SIGKILL does. */
	kill() {
		this.sock?.ev.removeAllListeners('connection.update')
		this.sock?.ws.socket?.terminate()
		this.sock?.end(undefined)
	}

	async send(phone, content, options = {}) {
		const jid = phone.includes('@') ? phone : `${phone}@s.whatsapp.net`
		const message = await this.sock.sendMessage(jid, content, options)
		this.sent.set(message.key.id, message.message)
		return message.key.id
	}

	message(id) {
		return this.messages.first((each) => each.key.id === id && each.message, `message ${id}`)
	}

	/** What others said, in the order of hearing it: [upsert type, text]. */
	get texts() {
		return this.messages.items.filter(({ key }) => !key.fromMe).map(({ type, message }) => [type, message?.conversation])
	}

	ack(id) {
		return this.acks.first((each) => each.id === id, `an ack of ${id}`)
	}
}

export const pn = (phone) => `${phone}@s.whatsapp.net`
export const lid = (phone) => `2${phone.padStart(14, '0')}@lid`
