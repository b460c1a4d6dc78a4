/// Keeps credentials that clients put into a query out of the log.
public enum QueryRedaction {
    /// Appends `query` (what stands after the `?`, as received) with the value of every parameter that carries a
    /// credential replaced by `…`.
    ///
    /// A name is judged as the laxest receiver would read it: percent-decoded, in any letter case, after `;` as
    /// well as after `&`, and with what PHP makes of names (leading spaces, `.` and space for `_`, a `[` that
    /// ends it). A value that is hidden goes on to the next `&`, since a `;` may be part of it.
    public static func append(query: Span<UInt8>, to output: inout [UInt8]) {
        var index = 0
        while index < query.count {
            let nameStart = index
            while index < query.count, !isSeparator(query[index]), query[index] != 0x3D {
                index += 1
            }
            let isSecret = isCredential(query.extracting(nameStart..<index))
            for position in nameStart..<index { output.append(query[position]) }
            if index < query.count, query[index] == 0x3D {
                output.append(0x3D)
                index += 1
                let valueStart = index
                while index < query.count, query[index] != 0x26,
                    isSecret || query[index] != 0x3B
                {
                    if !isSecret { output.append(query[index]) }
                    index += 1
                }
                if isSecret, index > valueStart {
                    output.append(contentsOf: [0xE2, 0x80, 0xA6])
                }
            }
            if index < query.count {
                output.append(query[index])
                index += 1
            }
        }
    }

    /// Whether no parameter's name is a credential's: then `append` leaves the query as it is.
    static func hidesNothing(of query: Span<UInt8>) -> Bool {
        var index = 0
        while index < query.count {
            let nameStart = index
            while index < query.count, !isSeparator(query[index]), query[index] != 0x3D {
                index += 1
            }
            if isCredential(query.extracting(nameStart..<index)) { return false }
            while index < query.count, !isSeparator(query[index]) { index += 1 }
            index += 1
        }
        return true
    }

    private static func isSeparator(_ byte: UInt8) -> Bool { byte == 0x26 || byte == 0x3B }

    /// Whether a parameter of that name carries a credential.
    private static func isCredential(_ name: Span<UInt8>) -> Bool {
        // Longer than every name below; of a longer name only the prefix matters.
        var folded = InlineArray<24, UInt8>(repeating: 0)
        var count = 0
        var index = 0
        while index < name.count, count < folded.count {
            var byte = name[index]
            index += 1
            if byte == 0x25, index + 1 < name.count,
                let high = hexValue(name[index]), let low = hexValue(name[index + 1])
            {
                byte = high << 4 | low
                index += 2
            }
            if byte == 0x5B || byte == 0 { break }
            if byte == 0x2B || byte == 0x20 || byte == 0x3F {
                if count == 0 { continue }
                byte = 0x5F
            }
            if byte == 0x2E || byte == 0x2D { byte = 0x5F }
            if byte >= 0x41, byte <= 0x5A { byte |= 0x20 }
            folded[count] = byte
            count += 1
        }
        let text = folded.span.extracting(0..<count)
        if text.count >= 6, equals(text.extracting(0..<6), "oauth_") { return true }
        return equals(text, "access_token") || equals(text, "client_secret")
            || equals(text, "client_assertion") || equals(text, "password")
            || equals(text, "token") || equals(text, "refresh_token")
            || equals(text, "id_token") || equals(text, "assertion")
    }

    private static func equals(_ text: Span<UInt8>, _ word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            guard text.count == word.count else { return false }
            for index in 0..<text.count where unsafe text[index] != word[index] { return false }
            return true
        }
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}
