/**
 * What WhatsApp Web costs without wad: Baileys alone, its keys in memory, measured as bench/web.py measures wad.
 *
 * `node bare.js '{"url", "rootKey", "scan", "network": [pid, ..], "text"}'`, asked over stdin as a bridge is (lines.js):
 *
 *     pair {phone, people: [..]} → {ms}                  one more client: from the scan to the open connection
 *     memory {} → {rss_mib}
 *     load {sessions, callers, messages} → figures       a message counts when the server has acknowledged it
 */

import { start } from '../wad/node/lines.js' // first, for it takes stdout: libsignal's prints cost nothing here either

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'

import {
	Browsers,
	initAuthCreds,
	makeCacheableSignalKeyStore,
	makeWASocket,
	WA_CERT_DETAILS,
} from '../wad/node/node_modules/@whiskeysockets/baileys/lib/index.js'
import logger from '../wad/node/node_modules/@whiskeysockets/baileys/lib/Utils/logger.js'

const asked = JSON.parse(process.argv[2])
const RESTART = 515 // what WhatsApp closes with once a phone has paired

logger.level = 'silent' // every pairing ends with a closed socket, which it tells as an error
WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(asked.rootKey, 'hex')

class Client {
	constructor(phone, people) {
		this.phone = phone
		this.people = people
		this.creds = initAuthCreds()
		const kept = new Map()
		const store = {
			get: (type, ids) => Object.fromEntries(ids.map((id) => [id, kept.get(`${type} ${id}`)]).filter(([, value]) => value)),
			set: (values) => {
				for (const [type, byId] of Object.entries(values)) {
					for (const [id, value] of Object.entries(byId)) {
						if (value) kept.set(`${type} ${id}`, value)
						else kept.delete(`${type} ${id}`)
					}
				}
			},
		}
		this.keys = makeCacheableSignalKeyStore(store, logger)
		this.waiting = new Map()
	}

	/** Milliseconds from the scan to the open connection. */
	pair() {
		return new Promise((resolve, reject) => {
			this.paired = () => resolve(performance.now() - this.scanned)
			this.failed = reject
			this.#connect()
		})
	}

	/** Resolves on the server's acknowledgement. */
	send(to, text) {
		const id = '3EB0' + randomBytes(9).toString('hex').toUpperCase()
		return new Promise((resolve, reject) => {
			this.waiting.set(id, (error) => (error ? reject(new Error(`refused: ${error}`)) : resolve()))
			this.sock.sendMessage(`${to}@s.whatsapp.net`, { text, linkPreview: null }, { messageId: id }).catch(reject)
		})
	}

	#connect() {
		const sock = (this.sock = makeWASocket({
			waWebSocketUrl: asked.url,
			browser: Browsers.ubuntu('Chrome'),
			auth: { creds: this.creds, keys: this.keys },
			logger,
			markOnlineOnConnect: false,
			emitOwnEvents: false,
			syncFullHistory: false,
		}))
		sock.ws.on('CB:ack,class:message', ({ attrs }) => {
			this.waiting.get(attrs.id)?.(attrs.error)
			this.waiting.delete(attrs.id)
		})
		sock.ev.on('connection.update', ({ qr, connection, lastDisconnect }) => {
			if (qr) this.#scan(qr).catch(this.failed)
			if (connection === 'open') this.paired()
			if (connection === 'close') {
				if (lastDisconnect?.error?.output?.statusCode === RESTART) this.#connect()
				else this.failed(lastDisconnect?.error)
			}
		})
	}

	async #scan(qr) {
		this.scanned = performance.now()
		const body = JSON.stringify({ phone: this.phone, qr })
		const answer = await fetch(asked.scan, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
		if (!answer.ok) throw new Error(await answer.text())
	}
}

/** Microseconds of CPU so far: ours, and the simulated network's. */
const cpu = () => {
	const { user, system } = process.cpuUsage()
	let network = 0
	for (const pid of asked.network) {
		const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')
		network += (Number(fields[11]) + Number(fields[12])) * 10_000 // in ticks of 10 ms, as on every Linux
	}
	return { own: user + system, network }
}

const quantiles = (values) => {
	const ordered = [...values].sort((a, b) => a - b)
	const at = (quantile) => ordered[Math.min(Math.floor(ordered.length * quantile), ordered.length - 1)] ?? 0
	return { p50_ms: at(0.5), p99_ms: at(0.99) }
}

/** `callers` that send over `clients` in turn, each the next message once its last one is acknowledged. */
async function load(clients, callers, messages) {
	const took = []
	let next = 0
	const caller = async () => {
		while (next < messages) {
			const number = next++
			const client = clients[number % clients.length]
			const to = client.people[Math.floor(number / clients.length) % client.people.length]
			const began = performance.now()
			await client.send(to, asked.text)
			took.push(performance.now() - began)
		}
	}
	const [began, before] = [performance.now(), cpu()]
	await Promise.all(Array.from({ length: callers }, caller))
	const [seconds, after] = [(performance.now() - began) / 1000, cpu()]
	return {
		per_second: messages / seconds,
		accepted: quantiles(took),
		cpu_us: (after.own - before.own) / messages,
		network_cpu_us: (after.network - before.network) / messages,
	}
}

const clients = []

start({
	calls: {
		async pair({ phone, people }) {
			const client = new Client(phone, people)
			const ms = await client.pair()
			clients.push(client)
			return { ms }
		},
		memory: () => ({ rss_mib: process.memoryUsage.rss() / 2 ** 20 }),
		load: ({ sessions, callers, messages }) => load(clients.slice(0, sessions), callers, messages),
	},
})
