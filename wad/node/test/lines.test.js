import assert from 'node:assert/strict'
import { test } from 'node:test'

import { run } from './child.js'

const lines = new URL('../lines.js', import.meta.url).href

/** A child whose calls are written in `body`, which sees `peer` once it runs. */
const child = (body, options) =>
	run(['--input-type=module', '-e', `import { CallError, log, start } from '${lines}'\n${body}`], options)

test('a call is answered with the value of its handler, and ping by itself', async () => {
	const peer = child(`start({ calls: { double: ({ n }) => n * 2, nothing: async () => {} } })`)
	assert.equal(await peer.call('double', { n: 21 }), 42)
	assert.equal(await peer.call('nothing'), null)
	assert.deepEqual(await peer.call('ping'), {})
	assert.deepEqual(await peer.end(), { code: 0, signal: null })
})

test('an error answers with its code and data, one without a code as internal', async () => {
	const peer = child(`start({ calls: {
		refuse: () => { throw new CallError('refused', 'no', { status: 463 }) },
		break: () => { throw new Error('oops') } } })`)
	await assert.rejects(peer.call('refuse'), { code: 'refused', data: { status: 463 } })
	await assert.rejects(peer.call('break'), { code: 'internal', message: 'oops' })
	await assert.rejects(peer.call('toString'), { code: 'unknown_call' })
	await peer.end()
})

test('the child calls its parent, and hears of refusals and of silence', async () => {
	const peer = child(
		`const peer = start({ timeout: 50, calls: {
			ask: ({ name }) => peer.call(name, { n: 1 }),
			code: ({ name }) => peer.call(name, {}).catch((error) => error.code) } })`,
		{
			calls: {
				plus: ({ n }) => n + 1,
				no: () => {
					throw Object.assign(new Error('no'), { code: 'forbidden' })
				},
				never: () => new Promise(() => {}),
			},
		},
	)
	assert.equal(await peer.call('ask', { name: 'plus' }), 2)
	assert.equal(await peer.call('code', { name: 'no' }), 'forbidden')
	assert.equal(await peer.call('code', { name: 'never' }), 'timeout')
	peer.say({ id: 3, ok: 'late' })
	assert.deepEqual(await peer.call('ping'), {})
	await peer.end()
})

test('events are numbered from one, and acknowledgements are cumulative and never go back', async () => {
	const peer = child(
		`const heard = []
		const peer = start({ calls: {
			tell: ({ times }) => { for (let n = 0; n < times; n++) peer.event('tick', { n }) },
			state: () => ({ heard, unacked: peer.unacked() }) } })
		peer.onAck((seq) => heard.push(seq))`,
		{ acking: false },
	)
	await peer.call('tell', { times: 3 })
	assert.deepEqual(
		peer.events.map(({ seq, args }) => [seq, args.n]),
		[
			[1, 0],
			[2, 1],
			[3, 2],
		],
	)
	peer.say({ ack: 2 })
	peer.say({ ack: 1 })
	assert.deepEqual(await peer.call('state'), { heard: [2], unacked: 1 })
	await peer.end()
})

test('what a library prints never reaches the protocol', async () => {
	const peer = child(`start({ calls: { noise: () => new Promise((done) => {
		console.info('privKey'); console.log('privKey'); console.warn('x'); console.error('x'); process.stdout.write('privKey', done) }) } })`)
	assert.equal(await peer.call('noise'), null)
	assert.deepEqual(await peer.call('ping'), {})
	await peer.end()
	assert.deepEqual(peer.stray, [])
	assert.equal(peer.log(), '')
})

test('a long line in many chunks, and characters cut in two, come whole', async () => {
	const peer = child(`start({ calls: { echo: ({ text }) => text } })`)
	const text = '¡ñandú! 🦙'.repeat(100_000)
	assert.equal(await peer.call('echo', { text }), text)
	const line = Buffer.from(JSON.stringify({ id: 1000, call: 'echo', args: { text: '🦙' } }) + '\n')
	const answered = new Promise((resolve) => peer.child.stdout.once('data', resolve))
	const cut = line.indexOf(0xf0) + 2
	peer.child.stdin.write(line.subarray(0, cut))
	await new Promise((done) => setImmediate(done))
	peer.child.stdin.write(line.subarray(cut))
	assert.equal(JSON.parse(await answered).ok, '🦙')
	await peer.end()
})

test('a line that cannot be read ends the child with a reason in its log', async () => {
	const peer = child(`start({ calls: {} })`)
	peer.child.stdin.write('not json\n')
	assert.deepEqual(await peer.gone, { code: 70, signal: null })
	assert.match(peer.log(), /cannot be read/)
})

test('a child whose parent stops reading leaves instead of spinning', async () => {
	const peer = child(`const peer = start({ calls: {} }); setInterval(() => peer.event('tick', {}), 1)`)
	await peer.event(({ event }) => event === 'tick')
	peer.child.stdout.destroy()
	assert.deepEqual(await peer.gone, { code: 0, signal: null })
})
