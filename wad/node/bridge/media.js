/** Media of received messages: fetched from WhatsApp, deciphered, and written to a file. */

import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { downloadMediaMessage, extractMessageContent, getContentType, proto } from '@whiskeysockets/baileys'

import { CallError } from '../lines.js'
import { unpack } from './wire.js'

/**
 * Write the media of `message` to `path`. Where the servers have it no more, the sender's phone is asked for it.
 *
 * @param {object} sock of Baileys, open
 * @param {object} logger
 * @param {{message: object, path: string, limit?: number}} args `message` as the event told it; `limit` in bytes
 * @returns {Promise<{size: number, sha256: string}>}
 */
export async function download(sock, logger, { message: packed, path, limit = Infinity }) {
	const { key, message } = unpack(packed)
	const whole = { key, message: proto.Message.fromObject(message ?? {}) }
	const content = extractMessageContent(whole.message)
	const media = content?.[getContentType(content)]
	if (!media || typeof media !== 'object' || !media.mediaKey) throw new CallError('no_media', 'the message has no media')
	// The host is the one that WhatsApp names, never the one that the message does: a stranger wrote that.
	await sock.refreshMediaConn()
	const host = sock.getMediaHost()
	pin(media)

	const hash = createHash('sha256')
	let size = 0
	const measure = new Transform({
		transform(chunk, _encoding, done) {
			size += chunk.length
			hash.update(chunk)
			done(size > limit ? new CallError('too_large', 'the media is larger than allowed', { limit }) : null, chunk)
		},
	})
	const part = `${path}.part`
	try {
		const context = { logger, reuploadRequest: async (asked) => (pin(media), sock.updateMediaMessage(asked)) }
		const stream = await downloadMediaMessage(whole, 'stream', { host }, context)
		await pipeline(stream, measure, createWriteStream(part, { mode: 0o600 }))
		const sha256 = hash.digest()
		if (media.fileSha256?.length && !sha256.equals(Buffer.from(media.fileSha256))) {
			throw new CallError('corrupt', 'the media is not what its sender hashed')
		}
		await rename(part, path)
		return { size, sha256: sha256.toString('hex') }
	} catch (error) {
		await rm(part, { force: true })
		if (error instanceof CallError) throw error
		const status = error?.status ?? error?.output?.statusCode
		if (status === 404 || status === 410) throw new CallError('gone', 'WhatsApp has the media no more', { status })
		throw new CallError('failed', String(error?.message ?? error), typeof status === 'number' ? { status } : {})
	}
}

/** Leave in `media` a path alone, and make sure that it is one: glued behind a host, "@other.host/" would be another. */
function pin(media) {
	if (!media.directPath && media.url) {
		const { pathname, search } = new URL(media.url)
		media.directPath = pathname + search
	}
	if (!media.directPath?.startsWith('/')) throw new CallError('no_media', 'the media has no path')
}
