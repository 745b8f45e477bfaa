// What a client of the soak may ask of the server, as the body of a packet. Any other body is sent back.
const magic = 'iocp soak, please '

/** Ends the connection in order, behind the echoes of everything before. */
export const END = Buffer.from(`${magic}end`)
/** Drops it. */
export const DESTROY = Buffer.from(`${magic}drop`)
