/** A linked client as the server knows it: its public keys, its connection, and what it still has to take. */

import { SERVER, bytes, child, children, node, seconds } from './nodes.js'

const ID = 3
const KEY = 32
const STRIDE = ID + KEY
const LOW = 5 // below so many one-time keys the server asks for more; Baileys uploads only below 5

export class Companion {
	/** One-time keys, packed: 812 of them as objects would cost 200 accounts some 100 MB. */
	#preKeys = Buffer.alloc(0)
	#askedForKeys = false
	/** What the client has not taken yet, in order: key → {node, sent, facts}. It outlives connections, as WhatsApp's queue does. */
	pending = new Map()
	/** Ids of messages whose retry was asked; a nack that follows is about the copy that failed. */
	#failed = new Set()
	connection = null
	/** The client has said that it is ready for its queue. */
	active = false
	available = false
	/** People whose presence the client asked for. */
	subscriptions = new Set()
	sentHistory = false
	/** How many privacy tokens the client gave to people. */
	tokens = 0

	/**
	 * @param {import('./people.js').Person} person
	 * @param {{device: number, noiseKey: Buffer, identity: Buffer, registrationId: number, signedPreKey: object, name: string}} keys
	 */
	constructor(person, { device, noiseKey, identity, registrationId, signedPreKey, name }) {
		this.person = person
		this.device = device
		this.noiseKey = noiseKey
		this.identity = identity
		this.registrationId = registrationId
		this.signedPreKey = signedPreKey
		this.name = name
	}

	jid(server = 's.whatsapp.net') {
		return this.person.jid(server, this.device)
	}

	get peer() {
		return this.person.peer(this.device)
	}

	get preKeyCount() {
		return this.#preKeys.length / STRIDE
	}

	/** Keep the keys of an upload (`encrypt` set). */
	upload(iq) {
		const skey = child(iq, 'skey')
		if (skey) this.rotate(skey)
		const packed = children(child(iq, 'list'), 'key').map((key) =>
			Buffer.concat([bytes(child(key, 'id')), bytes(child(key, 'value'))]),
		)
		this.#preKeys = Buffer.concat([this.#preKeys, ...packed])
		this.#askedForKeys = false
	}

	rotate(skey) {
		this.signedPreKey = {
			id: bytes(child(skey, 'id')).readUIntBE(0, ID),
			value: bytes(child(skey, 'value')),
			signature: bytes(child(skey, 'signature')),
		}
	}

	/** A bundle for somebody who wants to write to this client; takes a one-time key out while there are any. */
	takeBundle() {
		const one = this.#preKeys.subarray(0, STRIDE)
		this.#preKeys = this.#preKeys.subarray(STRIDE)
		if (this.preKeyCount < LOW && !this.#askedForKeys) {
			this.#askedForKeys = true
			const id = `prekeys-${Date.now()}`
			this.hold(
				`notification:${id}`,
				node('notification', { from: SERVER, id, type: 'encrypt', t: seconds() }, [
					node('count', { value: String(this.preKeyCount) }),
				]),
			)
		}
		return {
			registrationId: this.registrationId,
			identity: this.identity,
			signedPreKey: this.signedPreKey,
			preKey: one.length ? { id: one.readUIntBE(0, ID), value: Buffer.from(one.subarray(ID)) } : undefined,
		}
	}

	/** Queue a stanza until the client takes it; say it now if the client is there. `facts` stay with it. */
	hold(key, stanza, facts = undefined) {
		const item = { node: stanza, sent: 0, facts }
		this.pending.delete(key)
		this.pending.set(key, item)
		if (this.active && this.connection?.send(stanza)) item.sent++
	}

	/** Say something that is of no use later: presence, typing. */
	tell(stanza) {
		return this.active && this.connection !== null && this.connection.send(stanza)
	}

	/** The client took what was queued under `key`. */
	settle(key) {
		return this.pending.delete(key)
	}

	/** The client could not read message `id`, and asks for it again: this copy is done with. @returns the facts held with it */
	failed(id) {
		this.#failed.add(id)
		const item = this.pending.get(`message:${id}`)
		this.pending.delete(`message:${id}`)
		return item?.facts
	}

	/** Whether a nack of message `id` is the one that follows a retry, and so settles nothing more. */
	nackFollowsRetry(id) {
		return this.#failed.delete(id)
	}

	/** The client is ready: say all that waits, and how much it was. */
	activate() {
		this.active = true
		let count = 0
		for (const item of this.pending.values()) {
			const { tag, attrs, content } = item.node
			this.connection.send({ tag, attrs: { ...attrs, offline: String(count++) }, content })
			item.sent++
		}
		this.connection.send(node('ib', { from: SERVER }, [node('offline', { count: String(count) })]))
	}

	gone() {
		this.connection = null
		this.active = false
		this.available = false
		this.subscriptions.clear()
		this.#failed.clear()
	}
}
