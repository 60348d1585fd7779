/** One client's connection: the handshake, then nodes both ways, in order. */

import { decodeBinaryNode, encodeBinaryNode } from '@whiskeysockets/baileys'

import { log } from '../lines.js'
import { Frames, frame } from './frames.js'
import { Responder } from './noise.js'

/**
 * Over a WebSocket. `greeted(payload, noiseKey)` is called when the client has said who it is, `took(node)` for every
 * node after that, `ended()` once.
 */
export class Connection {
	#ws
	#authority
	#frames = new Frames()
	#responder = null
	#transport = null
	#reading = Promise.resolve()
	/** A deaf connection loses what the client says; one that is muted too says nothing either: a server that hangs. */
	deaf = false
	muted = false
	open = true
	greeted = () => {}
	took = () => {}
	ended = () => {}

	constructor(ws, authority) {
		this.#ws = ws
		this.#authority = authority
		// A node may have to be inflated, which is asynchronous: reading is a queue, so that order is kept.
		ws.on('message', (data) => (this.#reading = this.#reading.then(() => this.#read(data))))
		ws.on('error', (error) => log('info', 'a connection failed', { error: error.message }))
		ws.on('close', () => {
			this.open = false
			this.ended()
		})
	}

	async #read(data) {
		try {
			for (const body of this.#frames.push(data)) {
				if (!this.open) return
				if (this.#transport) {
					const node = await decodeBinaryNode(this.#transport.open(body))
					if (this.open && !this.deaf) this.took(node)
				} else this.#handshake(body)
			}
		} catch (error) {
			log('warning', 'a client said what cannot be read', { error: error.message })
			this.cut()
		}
	}

	#handshake(body) {
		if (!this.#responder) {
			this.#responder = new Responder(this.#authority, this.#frames.header)
			this.#ws.send(frame(this.#responder.hello(body)))
			return
		}
		const { noiseKey, payload, transport } = this.#responder.finish(body)
		this.#transport = transport
		this.greeted(payload, noiseKey)
	}

	/** Say a node; false when nobody can hear it any more. */
	send(node) {
		if (!this.open || !this.#transport || this.muted) return false
		this.#ws.send(frame(this.#transport.close(encodeBinaryNode(node))))
		return true
	}

	/** Say a last node and close in order. */
	end(node) {
		if (node) this.send(node)
		this.open = false
		this.#ws.close()
	}

	/** Break the connection, as a network does: no last word, no closing handshake. */
	cut() {
		this.open = false
		this.#ws.terminate()
	}
}
