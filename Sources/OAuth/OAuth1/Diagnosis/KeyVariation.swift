import Primitives

/// The keys that clients make otherwise than RFC 5849 section 3.4.2 says. They hold secrets: they
/// go into a hash and nowhere else.
struct KeyVariation {
    let mistake: OAuth1Mistake
    let key: [UInt8]

    static func all(_ credentials: OAuth1Credentials) -> [KeyVariation] {
        let consumer = credentials.consumerSecret?.exposed ?? []
        let token = credentials.tokenSecret?.exposed ?? []
        let style = EncodingStyle()
        func key(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] {
            style.encoded(first) + [0x26] + style.encoded(second)
        }
        var variations = [
            KeyVariation(mistake: .secretsNotEncoded, key: consumer + [0x26] + token),
            KeyVariation(mistake: .tokenSecretFirst, key: key(token, consumer)),
        ]
        if token.isEmpty {
            variations.append(KeyVariation(mistake: .noAmpersand, key: style.encoded(consumer)))
            variations.append(KeyVariation(mistake: .noAmpersand, key: consumer))
        } else {
            variations.append(KeyVariation(mistake: .tokenSecretMissing, key: key(consumer, [])))
        }
        for end in ["\n", "\r\n", " "] {
            let end = Array(end.utf8)
            variations.append(
                KeyVariation(mistake: .secretNewline, key: key(consumer + end, token)))
            if !token.isEmpty {
                variations.append(
                    KeyVariation(mistake: .secretNewline, key: key(consumer, token + end)))
            }
        }
        return variations
    }
}
