/** WhatsApp Web's WebSocket: connections, who they belong to, and how they begin and end. */

import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'

import { WebSocketServer } from 'ws'

import { CallError, log } from '../lines.js'
import { Connection } from './connection.js'
import { Authority } from './noise.js'
import { SERVER, digits, node, seconds } from './nodes.js'
import { applicantKeys, enterCode, link, parseQr } from './pairing.js'
import { answer } from './queries.js'
import { route } from './routing.js'

const REFS = 6 // QR codes that a registering client may show, one after the other

export class Server {
	#world
	#http
	#applicants = new Map() // QR ref → registering connection
	#connections = new Set()

	constructor(world) {
		this.#world = world
	}

	/** @returns {Promise<string>} the WebSocket's URL */
	async start({ host, port = 0, root }) {
		const authority = new Authority(root)
		this.#http = createServer((_, response) => response.writeHead(404).end())
		const sockets = new WebSocketServer({ server: this.#http, path: '/ws/chat', perMessageDeflate: false })
		sockets.on('error', () => {}) // a port that is taken: ws passes it on from the HTTP server, where it is waited for
		sockets.on('connection', (ws) => this.#accept(new Connection(ws, authority)))
		await new Promise((resolve, reject) => this.#http.once('error', reject).listen(port, host, resolve))
		return `ws://${host}:${this.#http.address().port}/ws/chat`
	}

	stop() {
		for (const connection of this.#connections) connection.cut()
		this.#http?.close()
	}

	get connections() {
		return this.#connections.size
	}

	#accept(connection) {
		this.#connections.add(connection)
		connection.ended = () => this.#connections.delete(connection)
		connection.greeted = (payload, noiseKey) => {
			if (this.#tooOld(payload)) return connection.end(failure(405))
			return payload.devicePairingData
				? this.#register(connection, payload, noiseKey)
				: this.#login(connection, payload, noiseKey)
		}
	}

	#tooOld({ userAgent }) {
		const least = this.#world.settings.minVersion
		if (!least) return false
		const { primary, secondary, tertiary } = userAgent?.appVersion ?? {}
		const version = [primary ?? 0, secondary ?? 0, tertiary ?? 0]
		const at = version.findIndex((part, index) => part !== least[index])
		return at !== -1 && version[at] < least[at]
	}

	// ---------------------------------------------------------------------------------------------------- registering

	#register(connection, payload, noiseKey) {
		const waiting = new Map() // id of our query → resolve
		const applicant = {
			connection,
			keys: applicantKeys(noiseKey, payload.devicePairingData),
			name: payload.userAgent?.device ?? 'client',
			code: null,
			query: (iq) => {
				iq.attrs.id = randomBytes(8).toString('hex')
				const reply = new Promise((resolve) => waiting.set(iq.attrs.id, resolve))
				connection.send(iq)
				return reply
			},
		}
		const refs = Array.from({ length: REFS }, () => `2@${randomBytes(24).toString('base64url')}`)
		for (const ref of refs) this.#applicants.set(ref, applicant)
		connection.ended = () => {
			this.#connections.delete(connection)
			for (const ref of refs) this.#applicants.delete(ref)
		}
		connection.took = (stanza) => {
			if (stanza.tag !== 'iq') return
			const resolve = waiting.get(stanza.attrs.id)
			if (resolve) {
				waiting.delete(stanza.attrs.id)
				resolve(stanza)
			} else this.#answer({ applicant, connection }, stanza)
		}
		connection.send(
			node('iq', { from: SERVER, type: 'set', xmlns: 'md', id: randomBytes(8).toString('hex') }, [
				node(
					'pair-device',
					{},
					refs.map((ref) => node('ref', {}, Buffer.from(ref))),
				),
			]),
		)
	}

	/** A phone scans a QR. */
	async scan(person, qr) {
		const { ref, ...shown } = parseQr(qr)
		const applicant = this.#applicants.get(ref)
		if (!applicant) throw new CallError('expired_qr', 'nobody shows this QR code any more')
		if (!shown.noiseKey.equals(applicant.keys.noiseKey)) throw new CallError('bad_qr', 'the code names another connection')
		this.#mayLink(person)
		return link(this.#world, person, applicant, shown)
	}

	/** A phone takes a pairing code. */
	async enterCode(person, code) {
		const asked = [...new Set(this.#applicants.values())].filter((applicant) => applicant.code?.phone === person.phone)
		if (!asked.length) throw new CallError('no_code_asked', `no client asked ${person.phone} for a code`)
		this.#mayLink(person)
		return enterCode(this.#world, person, asked[asked.length - 1], code)
	}

	#mayLink(person) {
		if (!person.registered) throw new CallError('not_registered', `${person.phone} has no WhatsApp`)
		if (person.ban) throw new CallError('banned', `${person.phone} is banned`)
	}

	// --------------------------------------------------------------------------------------------------------- logged in

	#login(connection, payload, noiseKey) {
		const person = this.#world.people.get(digits(payload.username))
		const companion = person.companions.get(payload.device ?? 0)
		if (person.ban) return connection.end(failureOf(person.ban))
		if (!companion || !companion.noiseKey.equals(noiseKey)) return connection.end(failure(401))
		const fault = this.#world.faults.take(person.phone, ['login'])
		if (fault) return connection.end(failure(fault.code))
		if (companion.connection) replace(companion)
		companion.connection = connection
		connection.ended = () => {
			this.#connections.delete(connection)
			if (companion.connection === connection) companion.gone()
			this.#world.tell('disconnected', { phone: person.phone, device: companion.device })
		}
		connection.took = (stanza) => {
			if (companion.connection !== connection) return
			if (stanza.tag === 'iq') this.#answer({ companion, connection }, stanza)
			else if (stanza.tag === 'xmlstreamend') connection.end()
			else route(this.#world, companion, stanza)
		}
		connection.send(
			node('success', {
				t: seconds(),
				lid: companion.jid('lid'),
				display_name: person.name,
				location: 'emu',
				creation: seconds(),
			}),
		)
		this.#world.tell('connected', { phone: person.phone, device: companion.device })
	}

	#answer(who, iq) {
		answer(this.#world, who, iq).catch((error) =>
			log('error', 'a query failed', { xmlns: iq.attrs.xmlns, error: String(error.stack) }),
		)
	}
}

/** Refuse a login. */
export const failure = (reason, more = {}) => node('failure', { reason: String(reason), location: 'emu', ...more })

export const failureOf = ({ reason, code, expire }) =>
	failure(reason, { code: code && String(code), expire: expire && String(expire) })

/** Another client takes this one's place. */
export function replace(companion) {
	const { connection } = companion
	companion.gone()
	connection.end(node('stream:error', {}, [node('conflict', { type: 'replaced' })]))
}
