/** The media host: keeps what is uploaded over HTTPS in files, gives it back, and can encrypt and decrypt as phones do. */

import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { log } from '../lines.js'

const LIMIT = 512 * 1024 * 1024 // bytes kept in all; the oldest go first
const MAC = 10
/** The word that separates the keys of each kind of media. */
const INFO = { image: 'Image', sticker: 'Image', video: 'Video', audio: 'Audio', document: 'Document' }

const sha256 = (data) => createHash('sha256').update(data).digest()

function keys(mediaKey, kind) {
	const bytes = Buffer.from(hkdfSync('sha256', mediaKey, Buffer.alloc(0), `WhatsApp ${INFO[kind]} Keys`, 112))
	return { iv: bytes.subarray(0, 16), cipher: bytes.subarray(16, 48), mac: bytes.subarray(48, 80) }
}

export class Media {
	#server
	#sizes = new Map() // file name → bytes, oldest first
	#total = 0
	/** How the next uploads of an account fail: phone → {code, times}. */
	uploadFault = () => null

	/**
	 * @param {{cert: Buffer, key: Buffer, host: string, port?: number, dir?: string}} options
	 * @returns {Promise<string>} the base URL
	 */
	async start({ cert, key, host, port = 0, dir }) {
		if (dir) await mkdir(dir, { recursive: true })
		this.ownDir = !dir
		this.dir = dir ?? (await mkdtemp(join(tmpdir(), 'wad-media-')))
		this.#server = createServer({ cert, key }, (request, response) => {
			this.#serve(request, response).catch((error) => {
				log('warning', 'the media host failed', { error: error.message })
				if (!response.headersSent) response.writeHead(500)
				response.end()
			})
		})
		await new Promise((resolve, reject) => this.#server.once('error', reject).listen(port, host, resolve))
		this.hostname = `${host}:${this.#server.address().port}`
		return `https://${this.hostname}`
	}

	async stop() {
		this.#server?.closeAllConnections()
		this.#server?.close()
		if (this.ownDir && this.dir) await rm(this.dir, { recursive: true, force: true })
	}

	async #serve(request, response) {
		const url = new URL(request.url, `https://${this.hostname}`)
		const name = url.pathname.split('/').pop()
		if (!/^[\w-]{20,100}$/.test(name)) return response.writeHead(404).end()
		if (request.method === 'POST') {
			const fault = this.uploadFault(url.searchParams.get('auth'))
			const chunks = []
			for await (const chunk of request) chunks.push(chunk)
			if (fault) return response.writeHead(fault).end()
			const path = await this.#keep(name, Buffer.concat(chunks))
			return response
				.writeHead(200, { 'content-type': 'application/json' })
				.end(JSON.stringify({ url: `https://${this.hostname}${path}`, direct_path: path }))
		}
		if (!this.#sizes.has(name)) return response.writeHead(404).end()
		const file = join(this.dir, name)
		const { size } = await stat(file)
		const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
		response.writeHead(start ? 206 : 200, { 'content-type': 'application/octet-stream', 'content-length': size - start })
		createReadStream(file, { start })
			.on('error', () => response.destroy())
			.pipe(response)
	}

	async #keep(name, body) {
		const file = join(this.dir, name)
		await writeFile(`${file}.part`, body)
		await rename(`${file}.part`, file)
		this.#total += body.length - (this.#sizes.get(name) ?? 0)
		this.#sizes.delete(name)
		this.#sizes.set(name, body.length)
		for (const [old, size] of this.#sizes) {
			if (this.#total <= LIMIT || old === name) break
			this.#sizes.delete(old)
			this.#total -= size
			await rm(join(this.dir, old), { force: true })
		}
		return `/v/${name}`
	}

	/** Encrypt a file and put it on the host, as a phone does. @returns fields of a media message */
	async share(path, kind) {
		const plain = await readFile(path)
		const mediaKey = randomBytes(32)
		const { iv, cipher, mac } = keys(mediaKey, kind)
		const aes = createCipheriv('aes-256-cbc', cipher, iv)
		const sealed = Buffer.concat([aes.update(plain), aes.final()])
		const tag = createHmac('sha256', mac).update(iv).update(sealed).digest().subarray(0, MAC)
		const body = Buffer.concat([sealed, tag])
		const fileEncSha256 = sha256(body)
		const directPath = await this.#keep(fileEncSha256.toString('base64url'), body)
		return {
			url: `https://${this.hostname}${directPath}`,
			directPath,
			mediaKey,
			fileEncSha256,
			fileSha256: sha256(plain),
			fileLength: plain.length,
			mediaKeyTimestamp: Math.floor(Date.now() / 1000),
		}
	}

	/** Fetch and decrypt what a media message names; throws when anything about it is not what the message says. */
	async open(message, kind) {
		const name = message.directPath?.split('?')[0].split('/').pop()
		if (!this.#sizes.has(name)) throw new Error('no such media')
		const body = await readFile(join(this.dir, name))
		if (!sha256(body).equals(Buffer.from(message.fileEncSha256))) throw new Error('fileEncSha256 is wrong')
		const { iv, cipher, mac } = keys(message.mediaKey, kind)
		const sealed = body.subarray(0, body.length - MAC)
		const tag = createHmac('sha256', mac).update(iv).update(sealed).digest().subarray(0, MAC)
		if (!timingSafeEqual(tag, body.subarray(body.length - MAC))) throw new Error('the MAC is wrong')
		const aes = createDecipheriv('aes-256-cbc', cipher, iv)
		const plain = Buffer.concat([aes.update(sealed), aes.final()])
		if (!sha256(plain).equals(Buffer.from(message.fileSha256))) throw new Error('fileSha256 is wrong')
		return plain
	}
}
