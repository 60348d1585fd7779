/** Bytes of a connection into frames and back: three bytes of length, then the body; the client's intro comes first, once. */

const EDGE = Buffer.from('ED\0\x01', 'latin1') // optional routing information before the intro
const INTRO = 4 // "WA", 6, dictionary version

/** Gathers bytes as they come and gives whole frames. */
export class Frames {
	#bytes = Buffer.alloc(0)
	/** The client's four opening bytes, once they are here. */
	header = null

	/** @returns {Buffer[]} the frames that are complete now */
	push(chunk) {
		this.#bytes = this.#bytes.length ? Buffer.concat([this.#bytes, chunk]) : chunk
		if (!this.header && !this.#intro()) return []
		const frames = []
		while (this.#bytes.length >= 3) {
			const end = 3 + this.#bytes.readUIntBE(0, 3)
			if (this.#bytes.length < end) break
			frames.push(this.#bytes.subarray(3, end))
			this.#bytes = this.#bytes.subarray(end)
		}
		return frames
	}

	#intro() {
		let at = 0
		if (this.#bytes.length >= 7 && this.#bytes.subarray(0, 4).equals(EDGE)) at = 7 + this.#bytes.readUIntBE(4, 3)
		if (this.#bytes.length < at + INTRO) return false
		this.header = this.#bytes.subarray(at, at + INTRO)
		if (this.header.toString('latin1', 0, 2) !== 'WA') throw new Error('not a WhatsApp client')
		this.#bytes = this.#bytes.subarray(at + INTRO)
		return true
	}
}

/** @returns {Buffer} the frame of a body */
export function frame(body) {
	const head = Buffer.alloc(3)
	head.writeUIntBE(body.length, 0, 3)
	return Buffer.concat([head, body])
}
