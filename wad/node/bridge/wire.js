/** Values on the wire: what Baileys holds as JSON, and back, bytes in BufferJSON's form {"type": "Buffer", "data": "<base64>"}. */

/** A message may quote one that quotes one...: deeper than this nobody reads, and JSON parsers have their limits. */
const DEEPEST = 64

/**
 * `value` as plain JSON values.
 *
 * Not BufferJSON itself: protobuf objects have a `toJSON` that turns bytes into strings and enumerations into names
 * before BufferJSON's replacer sees them. Here bytes stay bytes, enumerations numbers, and 64-bit integers become
 * numbers (those of WhatsApp are times and sizes, far below 2^53). What is null or undefined is left out.
 *
 * @param {any} value
 * @returns {any}
 */
export function pack(value, depth = 0) {
	if (value === null || value === undefined || depth > DEEPEST) return null
	if (typeof value === 'bigint') return Number(value)
	if (typeof value === 'function' || typeof value === 'symbol') return null
	if (typeof value !== 'object') return value
	if (value instanceof Uint8Array) {
		return { type: 'Buffer', data: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
	}
	if (Array.isArray(value)) return value.map((each) => pack(each, depth + 1))
	if (value instanceof Date) return value.toISOString()
	if (typeof value.toNumber === 'function') return value.toNumber() // a Long
	const packed = {}
	for (const [key, each] of Object.entries(value)) {
		const plain = pack(each, depth + 1)
		if (plain !== null) packed[key] = plain
	}
	return packed
}

/**
 * What `pack` made, with its bytes as Buffers again.
 *
 * @param {any} value
 * @returns {any}
 */
export function unpack(value) {
	if (value === null || typeof value !== 'object') return value
	if (Array.isArray(value)) return value.map(unpack)
	if (value.type === 'Buffer' && typeof value.data === 'string') return Buffer.from(value.data, 'base64')
	const unpacked = {}
	for (const [key, each] of Object.entries(value)) {
		// Text of a stranger may name anything; a key `__proto__` would be no property but another prototype.
		if (key !== '__proto__') unpacked[key] = unpack(each)
	}
	return unpacked
}
