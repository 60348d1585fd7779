/**
 * A peer that speaks JSON lines with its parent over stdin and stdout: calls both ways, events up, acknowledgements down.
 *
 * One JSON object a line:
 *
 *     {"id": 7, "call": "send", "args": {...}}                                   a call; each side counts its own
 *     {"id": 7, "ok": value}                                                     its answer
 *     {"id": 7, "error": {"code": "...", "message": "...", "data": {...}}}       its refusal
 *     {"event": "messages", "seq": 12, "args": {...}}                            child → parent only, from 1
 *     {"ack": 12}                                                                parent → child: all up to 12 are kept
 *
 * Binary values go in as Baileys' BufferJSON has them, {"type": "Buffer", "data": "<base64>"}; converting is the caller's.
 *
 * Importing this module takes stdout for the protocol, so it comes before every other import: Baileys' libsignal prints
 * session records, private keys included, with console.info, and one stray line would break the stream besides.
 */

const write = process.stdout.write.bind(process.stdout)

for (const name of ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir', 'table', 'group', 'groupEnd']) {
	console[name] = () => {}
}
process.stdout.write = (_chunk, encoding, done) => {
	const callback = typeof encoding === 'function' ? encoding : done
	if (callback) process.nextTick(callback)
	return true
}

/**
 * Write one line of the child's log: stderr, JSON.
 *
 * @param {'debug'|'info'|'warning'|'error'} level
 * @param {string} msg
 * @param {object} [fields] never secrets, never message bodies
 */
export function log(level, msg, fields = {}) {
	process.stderr.write(JSON.stringify({ level, msg, ...fields }) + '\n')
}

/** What the other side answered instead of a value; also what a handler throws to answer so. */
export class CallError extends Error {
	/**
	 * @param {string} code a word to act on
	 * @param {string} message a sentence to read
	 * @param {object} [data]
	 */
	constructor(code, message, data = {}) {
		super(message)
		this.name = 'CallError'
		this.code = code
		this.data = data
	}
}

/**
 * Serve `calls` on stdin and stdout until the parent closes stdin; then the process exits.
 *
 * Answers go out in the order in which handlers finish. A line that cannot be read ends the process: the two sides no
 * longer agree on what was said, and a fresh child is cheaper than a guess.
 *
 * @param {object} options
 * @param {Record<string, (args: any) => any>} options.calls what the parent may call; `ping` answers by itself
 * @param {number} [options.timeout] milliseconds after which a call of ours is given up; its late answer is ignored
 * @param {() => any} [options.ended] waited for (2 s at most) before the exit on the end of stdin
 */
export function start({ calls, timeout = 30_000, ended = () => {} }) {
	const waiting = new Map()
	const listeners = []
	let asked = 0
	let emitted = 0
	let acked = 0

	const say = (object) => write(JSON.stringify(object) + '\n')

	// Without this a child whose parent died keeps writing into the dead pipe for ever: a busy core, found the hard way.
	process.stdout.on('error', () => process.exit(0))

	const refusal = (error) => ({
		code: typeof error?.code === 'string' ? error.code : 'internal',
		message: String(error?.message ?? error),
		data: error?.data !== null && typeof error?.data === 'object' ? error.data : {},
	})

	async function serve({ id, call: name, args }) {
		try {
			if (name === 'ping') return say({ id, ok: {} })
			const handler = Object.hasOwn(calls, name) ? calls[name] : undefined
			if (!handler) throw new CallError('unknown_call', `no call ${JSON.stringify(name)}`)
			const value = await handler(args ?? {})
			say({ id, ok: value === undefined ? null : value })
		} catch (error) {
			const told = refusal(error)
			if (told.code === 'internal') log('error', 'a call failed', { call: name, error: String(error?.stack ?? error) })
			say({ id, error: told })
		}
	}

	function settle(line) {
		const call = waiting.get(line.id)
		if (!call) return
		waiting.delete(line.id)
		clearTimeout(call.timer)
		if ('ok' in line) call.resolve(line.ok)
		else call.reject(new CallError(line.error?.code ?? 'internal', line.error?.message ?? '', line.error?.data ?? {}))
	}

	function parse(text) {
		try {
			return JSON.parse(text)
		} catch (error) {
			log('error', 'a line that cannot be read', { error: String(error?.message ?? error), length: text.length })
			process.exit(70) // EX_SOFTWARE of sysexits.h
		}
	}

	function take(line) {
		if ('call' in line) serve(line)
		else if ('ack' in line) {
			if (line.ack <= acked) return
			acked = line.ack
			for (const listener of listeners) listener(acked)
		} else settle(line)
	}

	// Bytes, not strings, are gathered: a line of megabytes costs one copy, and no character is cut in two.
	let parts = []
	process.stdin.on('data', (chunk) => {
		let from = 0
		for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
			parts.push(chunk.subarray(from, at))
			from = at + 1
			const text = (parts.length === 1 ? parts[0] : Buffer.concat(parts)).toString('utf8')
			parts = []
			if (text.trim()) take(parse(text))
		}
		if (from < chunk.length) parts.push(chunk.subarray(from))
	})
	const leave = async () => {
		setTimeout(() => process.exit(0), 2_000).unref()
		try {
			await ended()
		} finally {
			process.exit(0)
		}
	}
	process.stdin.on('end', leave)
	process.stdin.on('error', leave)

	return {
		/**
		 * Call the parent.
		 *
		 * @param {string} name
		 * @param {object} args
		 * @returns {Promise<any>} rejects with CallError; code `timeout` when no answer came in time
		 */
		call(name, args) {
			const id = ++asked
			return new Promise((resolve, reject) => {
				const timer = setTimeout(() => {
					waiting.delete(id)
					reject(new CallError('timeout', `no answer to ${name} within ${timeout} ms`))
				}, timeout)
				waiting.set(id, { resolve, reject, timer })
				say({ id, call: name, args })
			})
		},

		/**
		 * Tell the parent that something happened.
		 *
		 * @param {string} name
		 * @param {object} args
		 * @returns {number} the event's number
		 */
		event(name, args) {
			const seq = ++emitted
			say({ event: name, seq, args })
			return seq
		},

		/** Hear of acknowledgements: `listener(seq)`, everything up to `seq` is kept by the parent. */
		onAck(listener) {
			listeners.push(listener)
		},

		/** How many events the parent has not acknowledged yet. */
		unacked() {
			return emitted - acked
		},
	}
}
