// Every word of the console in each of its languages, and which language it is.

export const LANGUAGES = ["en", "es"];

/** Key: [English, Spanish]. `{name}` is filled in by `t`. */
export const WORDS = {
  // --- the frame
  "skip": ["Skip to the content", "Ir al contenido"],
  "nav": ["Console", "Consola"],
  "language": ["Language", "Idioma"],
  "signout": ["Sign out", "Salir"],
  "cancel": ["Cancel", "Cancelar"],
  "close": ["Close", "Cerrar"],
  "optional": ["optional", "opcional"],
  "all": ["all", "todos"],
  "never": ["never", "nunca"],
  "yes": ["yes", "sí"],
  "more": ["Show more", "Mostrar más"],
  "refresh": ["Refresh", "Actualizar"],
  "asof": ["As of {time}", "A las {time}"],
  "loading": ["Loading…", "Cargando…"],
  "raw": ["As JSON", "En JSON"],
  "foot.docs": ["The API", "La API"],
  "foot.ready": ["Is it ready?", "¿Está lista?"],
  "foot.metrics": ["Metrics", "Métricas"],
  "ago": ["{time} ago", "hace {time}"],

  // --- signing in
  "signin.title": ["Sign in", "Entrar"],
  "signin.token": ["API token", "Token de la API"],
  "signin.hint": [
    "An admin's token, or a shop's. It stays in this tab, and is forgotten when the tab is closed.",
    "El de un administrador o el de una tienda. Se queda en esta pestaña y se olvida al cerrarla.",
  ],
  "signin.where": [
    "wad serve prints where the first admin token is: usually var/admin-token.",
    "wad serve dice dónde está el primer token de administrador: normalmente en var/admin-token.",
  ],
  "signin.go": ["Sign in", "Entrar"],
  "signin.empty": ["Give a token.", "Escribe un token."],
  "signin.wrong": ["This token is not known here.", "Aquí no se conoce ese token."],
  "signin.gone": ["Your token is no longer accepted. Sign in again.", "Tu token ya no se acepta. Vuelve a entrar."],
  "signin.bye": ["Signed out.", "Has salido."],

  // --- whether all this is true
  "live.on": ["Live", "En vivo"],
  "live.connecting": ["Connecting…", "Conectando…"],
  "live.cut": ["Stream cut", "Sin eventos"],
  "live.again": ["trying again at {time}", "nuevo intento a las {time}"],
  "live.try": ["Try now", "Intentar ya"],
  "stale.silent": [
    "wad has not answered since {time}. What you see is from before, and may not be true any more.",
    "wad no responde desde las {time}. Lo que ves es de antes y puede que ya no sea cierto.",
  ],
  "stale.refusing": [
    "wad cannot answer since {time}: {detail}. What you see is from before, and may not be true any more.",
    "wad no puede responder desde las {time}: {detail}. Lo que ves es de antes y puede que ya no sea cierto.",
  ],
  "stale.over": ["wad answers again.", "wad responde de nuevo."],
  "problem.silent": ["wad does not answer.", "wad no responde."],
  "problem.again": ["Try again after {time}.", "Vuelve a intentarlo después de las {time}."],
  "problem.what": ["What this means", "Qué significa"],
  "problem.request": ["In wad's log under {id}.", "En el registro de wad como {id}."],
  "page.missing": ["There is no such page.", "Esa página no existe."],

  // --- sessions
  "sessions.title": ["Sessions", "Sesiones"],
  "sessions.new": ["New session", "Nueva sesión"],
  "sessions.none": ["No session yet. Each is one WhatsApp number.", "Aún no hay sesiones. Cada una es un número de WhatsApp."],
  "sessions.nomatch": ["No session is like that.", "Ninguna sesión es así."],
  "sessions.id": ["Session", "Sesión"],
  "sessions.state": ["State", "Estado"],
  "sessions.provider": ["Provider", "Proveedor"],
  "sessions.queue": ["Queue", "Cola"],
  "sessions.breaker": ["Breaker", "Disyuntor"],
  "sessions.seen": ["Last seen", "Última señal"],
  "sessions.filter": ["Filter sessions", "Filtrar sesiones"],
  "sessions.changed": ["{session}: {state}", "{session}: {state}"],
  "queue.empty": ["empty", "vacía"],
  "queue.depth": ["{depth}, oldest {age}", "{depth}, la más antigua {age}"],

  "state.created": ["created", "creada"],
  "state.connecting": ["connecting", "conectando"],
  "state.pairing": ["pairing", "por vincular"],
  "state.connected": ["connected", "conectada"],
  "state.degraded": ["degraded", "degradada"],
  "state.disconnected": ["disconnected", "desconectada"],
  "state.logged_out": ["logged out", "desvinculada"],
  "state.bad_credentials": ["bad credentials", "credenciales no válidas"],
  "state.failed": ["failed", "fallida"],
  "breaker.closed": ["closed", "cerrado"],
  "breaker.open": ["open: sends are held", "abierto: envíos retenidos"],
  "breaker.half_open": ["half open: trying gently", "semiabierto: probando con cuidado"],
  "breaker.isolated": ["isolated: sends are held", "aislado: envíos retenidos"],

  // --- what to do, by the code of a session's reason
  "do.bad_credentials": ["Give it a new access token.", "Dale un token de acceso nuevo."],
  "do.permission_missing": [
    "Give it a token with whatsapp_business_messaging and whatsapp_business_management.",
    "Dale un token con whatsapp_business_messaging y whatsapp_business_management.",
  ],
  "do.no_app_secret": ["Set its app secret, or the configuration's.", "Pon su app secret, o el de la configuración."],
  "do.number_unknown": [
    "The phone number id is not this token's, or the number was deleted. Correct its credentials.",
    "El phone number id no es de este token, o el número se borró. Corrige sus credenciales.",
  ],
  "do.account_unknown": [
    "The business account is not this token's. Correct its credentials.",
    "La cuenta empresarial no es de este token. Corrige sus credenciales.",
  ],
  "do.no_number": ["Add a number to the account, and register it.", "Agrega un número a la cuenta y regístralo."],
  "do.callback_refused": [
    "Meta did not take the address for its events: the reason says why.",
    "Meta no aceptó la dirección para sus eventos: el motivo dice por qué.",
  ],
  "do.not_registered": ["Register the number with Meta.", "Registra el número en Meta."],
  "do.pin_mismatch": ["Register the number with Meta, with the right PIN.", "Registra el número en Meta con el PIN correcto."],
  "do.payment_problem": ["Settle the payment in Meta's console.", "Resuelve el pago en la consola de Meta."],
  "do.account_blocked": ["Look into Meta's console.", "Revisa la consola de Meta."],
  "do.account_locked": ["Look into Meta's console.", "Revisa la consola de Meta."],
  "do.account_banned": ["Look into Meta's console.", "Revisa la consola de Meta."],
  "do.terms_not_accepted": ["Accept the terms in Meta's console.", "Acepta los términos en la consola de Meta."],
  "do.display_name_not_approved": ["Have the display name approved in Meta's console.", "Haz aprobar el nombre visible en la consola de Meta."],
  "do.url_not_allowed": ["Its base URL is not allowed: guard.allow opens networks of your own.", "Su URL base no está permitida: guard.allow abre redes propias."],
  "do.logged_out": ["Press Connect, and pair it again with the phone.", "Pulsa Conectar y vincúlala otra vez con el teléfono."],
  "do.pairing_expired": ["Nobody scanned in time. Press Connect for a new code.", "Nadie escaneó a tiempo. Pulsa Conectar para otro código."],
  "do.replaced": [
    "Another program uses this pairing. Stop that one, then press Connect.",
    "Otro programa usa esta vinculación. Detenlo y luego pulsa Conectar.",
  ],
  "do.banned": ["WhatsApp banned the number. Ask in the WhatsApp app for a review.", "WhatsApp suspendió el número. Pide una revisión en la app de WhatsApp."],
  "do.temporarily_banned": [
    "WhatsApp banned the number for a time. Wait until it is over, then press Connect.",
    "WhatsApp suspendió el número por un tiempo. Espera a que acabe y luego pulsa Conectar.",
  ],
  "do.blocked": ["WhatsApp refuses the number. Look at its phone, then press Connect.", "WhatsApp rechaza el número. Mira su teléfono y luego pulsa Conectar."],
  "do.client_outdated": [
    "WhatsApp wants a newer client version: set it in the configuration.",
    "WhatsApp pide una versión de cliente más nueva: ponla en la configuración.",
  ],
  "do.untrusted_server": ["The server is not WhatsApp's. Look at your network and proxy.", "El servidor no es de WhatsApp. Revisa la red y el proxy."],
  "do.node_missing": [
    "Install what the reason names where wad runs, then press Connect.",
    "Instala lo que dice el motivo donde funciona wad y luego pulsa Conectar.",
  ],
  "do.misconfigured": ["Correct what the reason names, then press Connect.", "Corrige lo que dice el motivo y luego pulsa Conectar."],
  "do.reconnect_loop": [
    "The connection is lost again and again: look at the cause it names.",
    "La conexión se pierde una y otra vez: mira la causa que indica.",
  ],
  "do.person": ["Waiting does not help: somebody has to act.", "Esperar no sirve: alguien tiene que actuar."],
  "do.wait": ["Nothing to do: wad tries again by itself.", "No hay que hacer nada: wad lo intenta de nuevo."],
  "do.retry": ["Next attempt at {time}.", "Próximo intento a las {time}."],

  // --- a new session, and new credentials
  "create.title": ["New session", "Nueva sesión"],
  "create.provider": ["Provider", "Proveedor"],
  "create.id": ["Session id", "Id de la sesión"],
  "create.id.hint": ["Letters, digits, dots, dashes. Left out, wad names it.", "Letras, dígitos, puntos, guiones. Si falta, lo pone wad."],
  "create.shop": ["Shop id", "Id de la tienda"],
  "create.phone": ["Phone number", "Número de teléfono"],
  "create.flow": ["Flow URL", "URL del flujo"],
  "create.flow.hint": ["Which service answers its customers.", "Qué servicio responde a sus clientes."],
  "create.more": ["More", "Más"],
  "create.credentials": ["Credentials", "Credenciales"],
  "create.other": ["One a line: name=value", "Una por línea: nombre=valor"],
  "create.connect": ["Connect at once", "Conectar enseguida"],
  "create.go": ["Create", "Crear"],
  "create.done": ["{session} is created.", "{session} está creada."],
  "create.nothing": ["Nothing to enter: it is paired with a phone afterwards.", "No hay que escribir nada: se vincula después con un teléfono."],
  "change.title": ["New credentials", "Credenciales nuevas"],
  "change.hint": ["What you leave empty stays as it is.", "Lo que dejes vacío se queda como está."],
  "change.go": ["Save", "Guardar"],
  "change.done": ["Saved. The session proves itself anew.", "Guardado. La sesión vuelve a acreditarse."],

  // --- one session
  "session.back": ["All sessions", "Todas las sesiones"],
  "session.connect": ["Connect", "Conectar"],
  "session.disconnect": ["Disconnect", "Desconectar"],
  "session.logout": ["Log out", "Desvincular"],
  "session.delete": ["Delete", "Eliminar"],
  "session.credentials": ["New credentials", "Credenciales nuevas"],
  "session.logout.ask": ["Log {session} out?", "¿Desvincular {session}?"],
  "session.logout.text": [
    "A paired phone forgets this device, and it has to be paired again. Messages stay.",
    "El teléfono vinculado olvida este dispositivo, y hay que vincularlo otra vez. Los mensajes se quedan.",
  ],
  "session.delete.ask": ["Delete {session}?", "¿Eliminar {session}?"],
  "session.delete.text": [
    "Its messages, its dead letters and the key they are sealed with go too. This cannot be undone.",
    "Sus mensajes, sus fallidos y la clave con que están sellados se van también. No se puede deshacer.",
  ],
  "session.deleted": ["{session} is deleted.", "{session} está eliminada."],
  "session.status": ["Status", "Estado"],
  "session.wanted": ["Wanted", "Debe estar"],
  "session.since": ["In this state since", "En este estado desde"],
  "session.phone": ["Phone number", "Número"],
  "session.shop": ["Shop", "Tienda"],
  "session.inbound": ["Last received", "Último recibido"],
  "session.outbound": ["Last sent", "Último enviado"],
  "session.ack": ["Last taken by the provider", "Último aceptado por el proveedor"],
  "session.restarts": ["Restarts", "Reinicios"],
  "session.node": ["Node", "Nodo"],
  "session.account": ["Account", "Cuenta"],
  "session.account.none": ["The provider has told nothing yet.", "El proveedor aún no ha dicho nada."],
  "session.set": ["Credentials set", "Credenciales guardadas"],
  "session.recent": ["What happens", "Lo que pasa"],

  // --- pairing
  "pair.title": ["Pair with a phone", "Vincular con un teléfono"],
  "pair.connect": ["Press Connect: then there is a code to scan.", "Pulsa Conectar: entonces habrá un código que escanear."],
  "pair.how": [
    "On the phone: WhatsApp, Linked devices, Link a device. Then scan.",
    "En el teléfono: WhatsApp, Dispositivos vinculados, Vincular un dispositivo. Luego escanea.",
  ],
  "pair.qr": ["QR code to scan with the phone's WhatsApp", "Código QR para escanear con el WhatsApp del teléfono"],
  "pair.waiting": ["Waiting for the code…", "Esperando el código…"],
  "pair.until": ["Good for {time}", "Válido {time}"],
  "pair.expired": ["This code has expired. The next one comes by itself.", "Este código caducó. El siguiente llega solo."],
  "pair.fresh": ["There is a new code to scan.", "Hay un código nuevo que escanear."],
  "pair.code.title": ["Or with a code to type in", "O con un código para teclear"],
  "pair.code.phone": ["The phone's number", "El número del teléfono"],
  "pair.code.go": ["Get a code", "Pedir un código"],
  "pair.code.how": [
    "On the phone: Link with phone number instead, and type",
    "En el teléfono: Vincular con el número de teléfono, y teclea",
  ],

  // --- a test message
  "trial.title": ["Send a test message", "Enviar un mensaje de prueba"],
  "trial.to": ["To", "Para"],
  "trial.to.hint": ["With country code, such as +5215512345678.", "Con código de país, como +5215512345678."],
  "trial.kind": ["Kind", "Tipo"],
  "trial.text": ["Text", "Texto"],
  "trial.template": ["Template", "Plantilla"],
  "trial.language": ["Its language", "Su idioma"],
  "trial.go": ["Send", "Enviar"],
  "trial.taken": ["Taken: {status}.", "Aceptado: {status}."],
  "trial.repeat": [
    "No answer came. Pressing Send again asks the same once more, and it goes out once.",
    "No llegó respuesta. Si pulsas Enviar otra vez, se pide lo mismo y sale una sola vez.",
  ],
  "trial.steps": ["What became of it", "Qué fue de él"],
  "trial.open": ["The message", "El mensaje"],

  // --- the log
  "log.title": ["Live log", "Registro"],
  "log.hint": [
    "What happens from now on; the newest is first, and {most} are kept.",
    "Lo que pasa desde ahora; lo más nuevo primero, y se guardan {most}.",
  ],
  "log.filter": ["Filter the log", "Filtrar el registro"],
  "log.session": ["Session", "Sesión"],
  "log.type": ["Type", "Tipo"],
  "log.pause": ["Pause", "Pausar"],
  "log.resume": ["Go on", "Seguir"],
  "log.paused": ["Paused: {count} more came.", "En pausa: llegaron {count} más."],
  "log.clear": ["Clear", "Vaciar"],
  "log.none": ["Nothing has happened yet.", "Aún no ha pasado nada."],
  "log.cut": ["The stream was cut.", "Se cortó el flujo de eventos."],
  "log.resumed": ["The stream is back. What happened meanwhile follows.", "Los eventos volvieron. Lo que pasó entretanto aparece a continuación."],
  "log.gap": [
    "The stream is back. What happened meanwhile is not in here: look at the messages.",
    "Los eventos volvieron. Lo que pasó entretanto no está aquí: mira los mensajes.",
  ],
  "log.came": ["{count} new entries, the last: {what}", "{count} entradas nuevas, la última: {what}"],
  "log.open": ["Open the message", "Abrir el mensaje"],
  "type.message.received": ["received", "recibido"],
  "type.message.status": ["sent", "enviado"],
  "type.message.edited": ["edited", "editado"],
  "type.message.deleted": ["taken back", "retirado"],
  "type.message.dead_letter": ["dead letter", "fallido"],
  "type.session.state": ["session", "sesión"],
  "type.session.qr": ["code", "código"],
  "type.session.reconnect_loop": ["unstable", "inestable"],
  "type.session.marketing_paused": ["no marketing", "sin marketing"],
  "type.template.status": ["template", "plantilla"],
  "type.account.update": ["account", "cuenta"],
  "type.provider.event": ["provider", "proveedor"],
  "type.stream": ["stream", "eventos"],
  "says.qr": ["a new code to scan", "un código nuevo que escanear"],
  "says.loop": ["lost {losses} times in {time}", "perdida {losses} veces en {time}"],
  "says.marketing": ["{number} sends no marketing until {time}", "{number} no envía marketing hasta las {time}"],
  "says.to": ["to {who}: {status}", "a {who}: {status}"],
  "says.from": ["{who}: {what}", "{who}: {what}"],
  "says.state": ["{before} → {after}", "{before} → {after}"],

  // --- messages
  "messages.title": ["Messages", "Mensajes"],
  "messages.filter": ["Filter messages", "Filtrar mensajes"],
  "messages.none": ["No message is like that.", "Ningún mensaje es así."],
  "messages.when": ["When", "Cuándo"],
  "messages.direction": ["Direction", "Sentido"],
  "messages.who": ["With", "Con"],
  "messages.what": ["What", "Qué"],
  "messages.status": ["Status", "Estado"],
  "messages.to": ["To", "Para"],
  "messages.from": ["From", "De"],
  "messages.since": ["Since", "Desde"],
  "messages.apply": ["Search", "Buscar"],
  "messages.newer": ["{count} things happened since. Refresh", "Pasaron {count} cosas después. Actualizar"],
  "direction.inbound": ["received", "recibido"],
  "direction.outbound": ["sent", "enviado"],
  "message.title": ["Message", "Mensaje"],
  "message.back": ["All messages", "Todos los mensajes"],
  "message.history": ["History", "Historial"],
  "message.history.none": [
    "A received message has no steps: its status tells how far the flow is with it.",
    "Un mensaje recibido no tiene pasos: su estado dice hasta dónde llegó el flujo con él.",
  ],
  "message.id": ["Message id", "Id del mensaje"],
  "message.provider_id": ["Provider's id", "Id del proveedor"],
  "message.reference": ["Reference", "Referencia"],
  "message.attempts": ["Attempts", "Intentos"],
  "message.next": ["Next attempt", "Próximo intento"],
  "message.expires": ["Expires", "Caduca"],
  "message.cancel": ["Do not send it", "No enviarlo"],
  "message.cancelled": ["It will not be sent.", "No se enviará."],
  "message.twice": ["It may arrive twice.", "Puede llegar dos veces."],

  "status.scheduled": ["scheduled", "programado"],
  "status.queued": ["queued", "en cola"],
  "status.sending": ["sending", "enviando"],
  "status.accepted": ["accepted", "aceptado"],
  "status.sent": ["sent", "enviado"],
  "status.delivered": ["delivered", "entregado"],
  "status.read": ["read", "leído"],
  "status.played": ["played", "reproducido"],
  "status.failed": ["failed", "falló"],
  "status.cancelled": ["cancelled", "cancelado"],
  "status.expired": ["expired", "caducó"],
  "status.unknown": ["unknown", "incierto"],
  "status.received": ["received", "recibido"],
  "status.answered": ["answered", "respondido"],
  "status.done": ["done", "terminado"],
  "status.dead": ["dead", "abandonado"],

  "content.image": ["Image", "Imagen"],
  "content.video": ["Video", "Video"],
  "content.audio": ["Audio", "Audio"],
  "content.document": ["Document", "Documento"],
  "content.sticker": ["Sticker", "Sticker"],
  "content.location": ["Location", "Ubicación"],
  "content.contacts": ["Contact", "Contacto"],
  "content.template": ["Template", "Plantilla"],
  "content.interactive": ["Choice", "Opciones"],
  "content.reaction": ["Reaction", "Reacción"],
  "content.poll": ["Poll", "Encuesta"],

  // --- dead letters
  "dead.title": ["Dead letters", "Fallidos"],
  "dead.hint": [
    "What gave up: sends that failed or expired, and customers' messages that no flow took.",
    "Lo que se abandonó: envíos que fallaron o caducaron, y mensajes de clientes que ningún flujo tomó.",
  ],
  "dead.none": ["No dead letters.", "No hay fallidos."],
  "dead.retry": ["Retry", "Reintentar"],
  "dead.delete": ["Delete", "Eliminar"],
  "dead.new": ["{count} new", "{count} nuevos"],
  "dead.retried": ["On its way again: {status}.", "De nuevo en camino: {status}."],
  "dead.deleted": ["Dropped from the list. The message stays readable.", "Quitado de la lista. El mensaje se puede seguir leyendo."],
  "dead.twice.ask": ["Send it again?", "¿Enviarlo otra vez?"],
  "dead.twice.text": [
    "Nobody knows whether this message went out. Sent again, it may arrive twice.",
    "Nadie sabe si este mensaje salió. Enviado otra vez, puede llegar dos veces.",
  ],
  "dead.delete.ask": ["Drop this dead letter?", "¿Quitar este fallido?"],
  "dead.delete.text": ["It will not be tried again. The message itself stays readable.", "No se volverá a intentar. El mensaje se puede seguir leyendo."],
};

const KEPT = "wad.language";

function first() {
  const kept = localStorage.getItem(KEPT);
  if (LANGUAGES.includes(kept)) return kept;
  const wanted = navigator.languages.map((each) => each.slice(0, 2));
  return wanted.find((each) => LANGUAGES.includes(each)) ?? LANGUAGES[0];
}

let chosen = first();

export const language = () => chosen;

/** Speak this language from now on, also the next time. What is drawn already has to be drawn anew. */
export function speak(wanted) {
  chosen = LANGUAGES.includes(wanted) ? wanted : LANGUAGES[0];
  localStorage.setItem(KEPT, chosen);
}

/** Whether there is a word for this key. */
export const has = (key) => Object.hasOwn(WORDS, key);

/** The words for `key`, with `{name}`s filled in. */
export function t(key, values = {}) {
  const text = WORDS[key][LANGUAGES.indexOf(chosen)];
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The word for one of the API's own (`state.connected`), or that one as it is where we have none. */
export const word = (group, name) => (has(`${group}.${name}`) ? t(`${group}.${name}`) : String(name));
