import Primitives

/// The clients of the confs of a fleet. The confs change one after the other, so that what one of them does not have may be
/// on its way in as well as out: a client has left when none has it for a while.
extension RedisState {
    func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) throws(StoreError) {
        let reply = try ask(
            .script(
                .left, keys: [keys.declared, keys.clients],
                "\(DeclaredClients.absence.components.seconds)"))
        let words = reply.elements?.map { $0.bytes ?? [] } ?? []
        var gone: [[UInt8]] = []
        var revocations: [StoreItem] = []
        for index in stride(from: 0, to: words.count - 2, by: 3) {
            gone += words[index...index + 1]
            guard words[index + 2] != Array("1".utf8) else { continue }
            // One that is no number revokes nothing and goes: nobody knows when that client was there.
            let last = Int64(String(decoding: words[index + 1], as: UTF8.self)) ?? 0
            let end = last + DeclaredClients.lastTokens.components.seconds
            revocations.append(
                .revoke(
                    Revocation(
                        .client(id: String(decoding: words[index], as: UTF8.self)),
                        issuedBefore: WallTime(seconds: min(end, now.seconds)), until: until)))
        }
        // Before they are forgotten: whoever dies in between leaves it to the next.
        for result in try perform(revocations) {
            if case .failed(let error) = result { throw error }
        }
        let declared = ids.sorted().map { Array($0.utf8) }
        let arguments = [Array("\(gone.count / 2)".utf8)] + gone + declared
        _ = try ask(.script(.declare, keys: [keys.declared], arguments: arguments))
    }
}
