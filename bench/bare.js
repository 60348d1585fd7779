/**
 * What WhatsApp Web costs without wad: Baileys alone, its keys in memory, measured as bench/web.py measures wad.
 *
 * `node bare.js '{"url", "rootKey", "scan", "phones": [..], "people": [[..], ..], "counts": [1, 20], "messages": n, "loads": {..}}'`
 * pairs one client a phone, sends, and prints one JSON object. A message counts when the server has acknowledged it.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import '../wad/node/lines.js' // takes stdout, so that libsignal's prints cost nothing here either
import { makeLogger } from '../wad/node/bridge/quiet.js'
import { repairVerify, trustRoot } from '../wad/node/bridge/trust.js'
import {
	Browsers,
	initAuthCreds,
	makeCacheableSignalKeyStore,
	makeWASocket,
} from '../wad/node/node_modules/@whiskeysockets/baileys/lib/index.js'

const asked = JSON.parse(process.argv[2])
const RESTART = 515 // what WhatsApp closes with once a phone has paired

repairVerify()
trustRoot(asked.rootKey)

class Client {
	constructor(phone) {
		this.phone = phone
		this.logger = makeLogger(phone)
		this.logger.warn = this.logger.error = () => {} // every pairing ends with a closed socket, which is told as an error
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
		this.keys = makeCacheableSignalKeyStore(store, this.logger)
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
			logger: this.logger,
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
			const from = number % clients.length
			const people = asked.people[from]
			const began = performance.now()
			await clients[from].send(people[Math.floor(number / clients.length) % people.length], asked.text)
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

const found = { pairing: [], rss_mib: {}, first: null, loads: {} }
const clients = []
for (const phone of asked.phones) {
	const client = new Client(phone)
	found.pairing.push(await client.pair())
	clients.push(client)
	if (asked.counts.includes(clients.length)) {
		await sleep(asked.settle * 1000)
		found.rss_mib[clients.length] = process.memoryUsage.rss() / 2 ** 20
	}
}
found.pairing = quantiles(found.pairing)
found.first = await load(clients, 1, clients.length * asked.people[0].length)
for (const [name, { sessions, callers }] of Object.entries(asked.loads)) {
	found.loads[name] = await load(clients.slice(0, sessions), callers, asked.messages)
}
writeSync(1, JSON.stringify(found))
process.exit(0)
