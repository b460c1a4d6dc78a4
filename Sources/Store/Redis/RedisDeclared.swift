import Primitives

/// The clients of the confs of a fleet. The confs change one after the other, so that what one of them does not have may be
/// on its way in as well as out: a client has left when none has it for a while.
extension RedisState {
    func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) throws(StoreError) {
        // First of all: should anything fail behind it, those who are declared do not look as if they had left.
        let arguments =
            ["\(DeclaredClients.absence.components.seconds)"] + ids.sorted()
        let reply = try ask(
            .script(
                .declare, keys: [keys.declared, keys.clients],
                arguments: arguments.map { Array($0.utf8) }))
        let words = reply.elements?.map { $0.bytes ?? [] } ?? []
        var gone: [[UInt8]] = []
        var revocations: [StoreItem] = []
        for index in stride(from: 0, to: words.count - 3, by: 4) {
            let id = String(decoding: words[index], as: UTF8.self)
            gone += words[index...index + 1] + [Array(ids.contains(id) ? "1".utf8 : "0".utf8)]
            guard words[index + 3] != Array("1".utf8) else { continue }
            // 0, which revokes nothing, of one whose time is no number: nobody knows when that client was there.
            let seen = Int64(String(decoding: words[index + 2], as: UTF8.self)) ?? 0
            let end = seen + DeclaredClients.lastTokens.components.seconds
            revocations.append(
                .revoke(
                    Revocation(
                        .client(id: id),
                        issuedBefore: WallTime(seconds: min(end, now.seconds)), until: until)))
        }
        guard !gone.isEmpty else { return }
        // Before they are forgotten: whoever dies in between leaves it to the next.
        for result in try perform(revocations) {
            if case .failed(let error) = result { throw error }
        }
        _ = try ask(.script(.forget, keys: [keys.declared], arguments: gone))
    }
}
