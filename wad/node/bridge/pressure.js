/** Backpressure: where wad acknowledges more slowly than WhatsApp talks, the sockets are not read. */

/** Unacknowledged events above which the sockets rest. Half of it wakes them. */
const HIGH = 1_000

/**
 * Node's pipe to the parent never blocks: what the parent does not read piles up here, in memory. What is not read
 * from a socket piles up in the kernel and then at WhatsApp, which has room. A rest of more than 35 s makes Baileys
 * close the connection (408), and that is an ordinary reconnect.
 */
export class Pressure {
	/** @param {() => number} unacked */
	constructor(unacked, high = HIGH) {
		this.unacked = unacked
		this.high = high
		this.resting = false
		/** Sockets of `ws`, connected or not. */
		this.sockets = new Set()
	}

	/** Count `socket` in, until it closes. */
	add(socket) {
		this.sockets.add(socket)
		socket.once('close', () => this.sockets.delete(socket))
		// One that is still connecting cannot be paused yet.
		socket.once('open', () => this.resting && socket.pause())
		if (this.resting) socket.pause()
	}

	/** Events were told, or acknowledged. */
	check() {
		const unacked = this.unacked()
		if (!this.resting && unacked > this.high) {
			this.resting = true
			for (const socket of this.sockets) socket.pause()
		} else if (this.resting && unacked <= this.high / 2) {
			this.resting = false
			for (const socket of this.sockets) socket.resume()
		}
	}
}
