/** The order of what comes in over a reconnection. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { house } from './house.js'

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'
const EACH = 25

test('what is said after a reconnection comes behind what was queued before it', async (t) => {
	const home = await house(t)
	const first = await home.paired('shop', ACCOUNT)
	first.child.kill('SIGKILL')
	await first.gone
	const said = []
	const say = async (text) => said.push((await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text } })).id)
	for (let n = 0; n < EACH; n++) await say(`queued ${n}`)
	const second = home.bridge()
	await second.open('shop')
	await second.told('shop', 'open')
	for (let n = 0; n < EACH; n++) await say(`live ${n}`)
	await second.message('shop', said.at(-1))
	for (const id of said) await second.message('shop', id)
	const heard = second.events.filter(({ event }) => event === 'messages').flatMap(({ args }) => args.messages.map(({ key }) => key.id))
	assert.deepEqual(heard, said)
})
