import COpenSSL
import Primitives

/// OpenSSL asks these while it shakes hands. They look things up in the context that the session keeps alive, and answer.
extension TLSServerContext {
    func installCallbacks(in context: OpaquePointer) {
        unsafe SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque())
        unsafe gatehouse_set_servername_callback(context) { session, _, _ in
            unsafe chooseCertificate(session)
        }
        if !protocols.isEmpty {
            unsafe SSL_CTX_set_alpn_select_cb(
                context,
                { session, chosen, chosenCount, offered, offeredCount, _ in
                    unsafe chooseProtocol(session, chosen, chosenCount, offered, offeredCount)
                }, nil)
        }
        unsafe gatehouse_set_status_callback(context) { session, _ in unsafe addStaple(session) }
        unsafe gatehouse_set_ticket_callback(context) { session, name, vector, cipher, mac, seals in
            if seals == 1 {
                unsafe sealTicket(session, name, vector, cipher, mac)
            } else {
                unsafe openTicket(session, name, vector, cipher, mac)
            }
        }
        unsafe SSL_CTX_set_session_ticket_cb(
            context, { session, _ in unsafe markTicket(session) },
            { _, ticket, _, _, status, _ in unsafe judgeTicket(ticket, status) }, nil)
    }
}

private func owner(of session: OpaquePointer?) -> TLSServerContext? {
    guard let session = unsafe session, let context = unsafe SSL_get_SSL_CTX(session),
        let raw = unsafe SSL_CTX_get_ex_data(context, 0)
    else { return nil }
    return unsafe Unmanaged<TLSServerContext>.fromOpaque(raw).takeUnretainedValue()
}

/// RFC 6066 section 3. An unknown name gets the default certificate, as with nginx: the client decides whether it will do.
private func chooseCertificate(_ session: OpaquePointer?) -> Int32 {
    if let owner = unsafe owner(of: session),
        let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name)
    {
        unsafe SSL_set_SSL_CTX(session, owner.context(for: String(cString: name)))
    }
    return SSL_TLSEXT_ERR_OK
}

/// RFC 7301 section 3.2: our order counts; a client that offers nothing of ours is told so.
private func chooseProtocol(
    _ session: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ chosenCount: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?,
    _ offeredCount: UInt32
) -> Int32 {
    guard let owner = unsafe owner(of: session), let chosen = unsafe chosen else {
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
    let ours = owner.protocols
    return unsafe ours.withUnsafeBufferPointer { ours in
        var match: UnsafeMutablePointer<UInt8>?
        guard
            unsafe SSL_select_next_proto(
                &match, chosenCount, ours.baseAddress, UInt32(ours.count), offered, offeredCount)
                == OPENSSL_NPN_NEGOTIATED
        else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        // It may point into our array, which moves: the same bytes stand in the client's list, which stays.
        guard let match = unsafe match, let offered = unsafe offered,
            let count = unsafe chosenCount?.pointee
        else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        var offset = 0
        while offset < Int(offeredCount) {
            let length = unsafe Int(offered[offset])
            if length == Int(count), offset + length < Int(offeredCount),
                unsafe memcmp(offered + offset + 1, match, length) == 0
            {
                unsafe chosen.pointee = unsafe offered + offset + 1
                return SSL_TLSEXT_ERR_OK
            }
            offset += 1 + length
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
}

private func addStaple(_ session: OpaquePointer?) -> Int32 {
    guard let owner = unsafe owner(of: session),
        let staple = unsafe owner.staple(for: SSL_get_certificate(session), at: .now()),
        let copy = unsafe gatehouse_allocate(staple.count)
    else { return SSL_TLSEXT_ERR_NOACK }
    unsafe copy.copyMemory(from: staple, byteCount: staple.count)
    unsafe gatehouse_staple(session, copy.assumingMemoryBound(to: UInt8.self), staple.count)
    return SSL_TLSEXT_ERR_OK
}

private let ticketNameCount = 16
private let ticketVectorCount = 16

/// - Returns: 1; 0 for no ticket.
private func sealTicket(
    _ session: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?,
    _ vector: UnsafeMutablePointer<UInt8>?, _ cipher: OpaquePointer?, _ mac: OpaquePointer?
) -> Int32 {
    guard let owner = unsafe owner(of: session), let name = unsafe name, let vector = unsafe vector,
        let key = owner.ticketKeys.current(at: .now()),
        unsafe RAND_bytes(vector, Int32(ticketVectorCount)) == 1
    else { return 0 }
    unsafe name.update(from: key.name, count: ticketNameCount)
    var macKey = key.macKey
    guard
        unsafe EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipherKey, vector) == 1,
        unsafe gatehouse_set_ticket_mac(mac, &macKey, macKey.count) == 1
    else { return 0 }
    return 1
}

/// - Returns: 0 for a full handshake, 1, or 2 where the client must get a new ticket.
private func openTicket(
    _ session: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?,
    _ vector: UnsafeMutablePointer<UInt8>?, _ cipher: OpaquePointer?, _ mac: OpaquePointer?
) -> Int32 {
    guard let owner = unsafe owner(of: session), let name = unsafe name, let vector = unsafe vector
    else { return 0 }
    let wanted = unsafe Array(UnsafeBufferPointer(start: name, count: ticketNameCount))
    guard let (key, isCurrent) = owner.ticketKeys.key(named: wanted, at: .now()) else { return 0 }
    var macKey = key.macKey
    guard
        unsafe gatehouse_set_ticket_mac(mac, &macKey, macKey.count) == 1,
        unsafe EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipherKey, vector) == 1
    else { return 0 }
    // In TLS 1.3 a ticket is for one use: the next comes with the answer (RFC 8446 appendix C.4).
    let isNew = unsafe SSL_version(session) == TLS1_3_VERSION
    return isCurrent && !isNew ? 1 : 2
}

/// Writes into a ticket when its client shook hands in full: OpenSSL counts a session's time anew with each ticket.
///
/// - Returns: 1; 0 would end the connection.
private func markTicket(_ session: OpaquePointer?) -> Int32 {
    let current = unsafe SSL_get_session(session)
    if unsafe SSL_session_reused(session) == 1, unsafe beginning(of: current) != nil { return 1 }
    var seconds = WallTime.now().seconds
    _ = unsafe SSL_SESSION_set1_ticket_appdata(current, &seconds, MemoryLayout<Int64>.size)
    return 1
}

private func beginning(of session: OpaquePointer?) -> WallTime? {
    var data: UnsafeMutableRawPointer?
    var count = 0
    guard unsafe SSL_SESSION_get0_ticket_appdata(session, &data, &count) == 1,
        count == MemoryLayout<Int64>.size, let data = unsafe data
    else { return nil }
    return unsafe WallTime(seconds: data.loadUnaligned(as: Int64.self))
}

/// A ticket stands for its client's certificate, whose key nobody proves again: it is good for its time since the last full
/// handshake, and as long as the certificate. Then the client is asked anew rather than sent away.
private func judgeTicket(
    _ ticket: OpaquePointer?, _ status: SSL_TICKET_STATUS
) -> SSL_TICKET_RETURN {
    guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW else {
        return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    let now = WallTime.now()
    guard let begun = unsafe beginning(of: ticket),
        now.seconds - begun.seconds < TLSTicketKeys.lifetimeSeconds
    else { return SSL_TICKET_RETURN_IGNORE_RENEW }
    if let certificate = unsafe SSL_SESSION_get0_peer(ticket),
        unsafe CertificateNames.time(X509_get0_notAfter(certificate)) <= now
    {
        return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}
