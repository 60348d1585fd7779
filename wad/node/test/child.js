/** The parent's side of lines.js, for tests: runs a child and speaks JSON lines with it. */

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/**
 * Run `node ...args` as a child.
 *
 * @param {string[]} args
 * @param {object} [options] `calls`: what the child may call; `acking`: whether events are acknowledged at once
 */
export function run(args, { calls = {}, acking = true, env = process.env } = {}) {
	const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
	const waiting = new Map()
	const events = []
	const watchers = new Set()
	const stray = []
	let log = ''
	let asked = 0
	const say = (object) => child.stdin.write(JSON.stringify(object) + '\n')
	child.stderr.on('data', (chunk) => (log += chunk))
	child.stdin.on('error', () => {})
	createInterface({ input: child.stdout }).on('line', async (text) => {
		let line
		try {
			line = JSON.parse(text)
		} catch {
			stray.push(text)
			return
		}
		if ('event' in line) {
			events.push(line)
			if (acking) say({ ack: line.seq })
			for (const watcher of watchers) watcher()
		} else if ('call' in line) {
			try {
				say({ id: line.id, ok: (await calls[line.call](line.args)) ?? null })
			} catch (error) {
				say({ id: line.id, error: { code: error.code ?? 'internal', message: error.message, data: {} } })
			}
		} else {
			const call = waiting.get(line.id)
			waiting.delete(line.id)
			if (!call) return
			if ('ok' in line) call.resolve(line.ok)
			else call.reject(Object.assign(new Error(`${line.error.code}: ${line.error.message}`), line.error))
		}
	})
	const gone = new Promise((resolve) =>
		child.on('exit', (code, signal) => {
			for (const call of waiting.values()) call.reject(new Error(`the child is gone (${code ?? signal}): ${log}`))
			resolve({ code, signal })
		}),
	)
	return {
		child,
		events,
		stray,
		gone,
		say,
		log: () => log,
		call(name, args = {}) {
			const id = ++asked
			return new Promise((resolve, reject) => {
				waiting.set(id, { resolve, reject })
				say({ id, call: name, args })
			})
		},
		/** Wait for the first event, told already or still to come, for which `wanted(event)` holds. */
		event(wanted) {
			return new Promise((resolve, reject) => {
				const look = () => {
					const found = events.find(wanted)
					if (!found) return
					watchers.delete(look)
					clearTimeout(limit)
					resolve(found)
				}
				const limit = setTimeout(() => {
					watchers.delete(look)
					reject(new Error(`no event ${wanted}; had ${JSON.stringify(events.slice(-5))}; log ${log.slice(-2000)}`))
				}, 20_000)
				watchers.add(look)
				look()
			})
		},
		/** Close stdin and wait until the child has left. */
		async end() {
			child.stdin.end()
			return gone
		},
	}
}
