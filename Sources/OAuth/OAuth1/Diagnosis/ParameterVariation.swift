/// How the normalised parameters are made; the default is RFC 5849 section 3.4.1.3.2.
struct ParameterRecipe {
    enum Order {
        case encoded, decoded, joined
        /// As they stand, source after source.
        case collected([OAuth1Parameters.Source])
    }

    var pairs: [SignatureInput.Pair]
    var nameStyle = EncodingStyle()
    var valueStyle = EncodingStyle()
    /// For URI and normalised parameters on their way into the base string.
    var outerStyle = EncodingStyle()
    var encodesAgain = true
    var order = Order.encoded

    init(_ input: SignatureInput) {
        pairs = input.pairs
    }

    var normalized: [UInt8] {
        typealias Piece = (name: [UInt8], value: [UInt8], pair: SignatureInput.Pair)
        var pieces: [Piece] = pairs.map { pair in
            (nameStyle.encoded(pair.name), valueStyle.encoded(pair.value), pair)
        }
        switch order {
        case .encoded:
            pieces.sort { precedes(($0.name, $0.value), ($1.name, $1.value)) }
        case .decoded:
            pieces.sort { left, right in
                precedes((left.pair.name, left.pair.value), (right.pair.name, right.pair.value))
            }
        case .joined:
            pieces.sort { left, right in
                (left.name + [0x3D] + left.value)
                    .lexicographicallyPrecedes(right.name + [0x3D] + right.value)
            }
        case .collected(let sources):
            pieces = sources.flatMap { source in pieces.filter { $0.pair.source == source } }
        }
        return Array(pieces.map { $0.name + [0x3D] + $0.value }.joined(separator: [0x26]))
    }
}

/// One way in which clients make the normalised parameters otherwise.
struct ParameterVariation: Sendable {
    let mistake: OAuth1Mistake
    let apply: @Sendable (inout ParameterRecipe, SignatureInput) -> Void

    init(
        _ mistake: OAuth1Mistake,
        _ apply: @escaping @Sendable (inout ParameterRecipe, SignatureInput) -> Void
    ) {
        self.mistake = mistake
        self.apply = apply
    }

    /// Where two come to the same base string the first is named: the narrower stands before the
    /// wider.
    static let all = orders + encodings + texts + choices

    private static let orders: [ParameterVariation] =
        [
            .init(.sortJoined) { recipe, _ in recipe.order = .joined },
            .init(.sortDecoded) { recipe, _ in recipe.order = .decoded },
        ]
        + ([[.query, .header, .form], [.header, .query, .form], [.header, .form, .query]]
        + [[.query, .form, .header], [.form, .query, .header], [.form, .header, .query]]).map {
            (sources: [OAuth1Parameters.Source]) in
            ParameterVariation(.noSort) { recipe, _ in recipe.order = .collected(sources) }
        }

    private static let encodings: [ParameterVariation] = [
        styled(.plusForSpace) { $0.writesPlusForSpace = true },
        styled(.tildeEncoded) { $0.encodesTilde = true },
        styled(.starNotEncoded) { $0.kept = Array("*".utf8) },
        styled(.encodeURIComponent) { $0.kept = Array("!'()*".utf8) },
        styled(.lowerHex) { $0.writesLowerHex = true },
        styledThroughout(.starNotEncoded) { $0.kept = Array("*".utf8) },
        styledThroughout(.encodeURIComponent) { $0.kept = Array("!'()*".utf8) },
        styledThroughout(.lowerHex) { $0.writesLowerHex = true },
        styledThroughout(.tildeEncoded) { $0.encodesTilde = true },
        .init(.namesNotEncoded) { recipe, _ in recipe.nameStyle = .none },
        .init(.valuesNotEncoded) { recipe, _ in recipe.valueStyle = .none },
        .init(.paramsEncodedOnce) { recipe, _ in recipe.encodesAgain = false },
    ]

    private static let texts: [ParameterVariation] = [
        each(.plusTakenLiterally) { pair in
            guard pair.source != .header else { return }
            pair.name = SignatureInput.decoded(pair.rawName, .isPlus) ?? pair.name
            pair.value = SignatureInput.decoded(pair.rawValue, .isPlus) ?? pair.value
        },
        .init(.queryNamesEncodedTwice) { recipe, _ in recipe.takeRaw(names: true, values: false) },
        .init(.queryValuesEncodedTwice) { recipe, _ in recipe.takeRaw(names: false, values: true) },
        .init(.queryValuesEncodedTwice) { recipe, _ in recipe.takeRaw(names: true, values: true) },
        each(.utf8AsLatin1) { pair in
            pair.name = Latin1.read(pair.name)
            pair.value = Latin1.read(pair.value)
        },
        each(.latin1) { pair in
            pair.name = Latin1.written(pair.name)
            pair.value = Latin1.written(pair.value)
        },
    ]

    private static let choices: [ParameterVariation] = [
        .init(.equalPairsOnce) { recipe, _ in
            recipe.keep { pair, before, _ in
                !before.contains { $0.name == pair.name && $0.value == pair.value }
            }
        },
        .init(.lastValueOnly) { recipe, _ in
            recipe.keep { pair, _, after in !after.contains { $0.name == pair.name } }
        },
        .init(.firstValueOnly) { recipe, _ in
            recipe.keep { pair, before, _ in !before.contains { $0.name == pair.name } }
        },
        .init(.emptyDropped) { recipe, _ in recipe.pairs.removeAll { $0.value.isEmpty } },
        .init(.queryLeftOutWithForm) { recipe, input in
            if input.isForm, !input.body.isEmpty {
                recipe.pairs.removeAll { $0.source == .query }
            }
        },
        .init(.queryLeftOut) { recipe, _ in recipe.pairs.removeAll { $0.source == .query } },
        .init(.formLeftOut) { recipe, _ in recipe.pairs.removeAll { $0.source == .form } },
        .init(.jsonSigned) { recipe, input in
            guard !input.isForm, !input.body.isEmpty else { return }
            recipe.add(input.body, [])
        },
        .init(.realmSigned) { recipe, input in
            recipe.add(Array("realm".utf8), input.realm ?? [])
        },
        .init(.versionNotSigned) { recipe, _ in
            recipe.pairs.removeAll { $0.name == Array("oauth_version".utf8) }
        },
    ]

    private static func styled(
        _ mistake: OAuth1Mistake, _ change: @escaping @Sendable (inout EncodingStyle) -> Void
    ) -> ParameterVariation {
        ParameterVariation(mistake) { recipe, _ in
            change(&recipe.nameStyle)
            change(&recipe.valueStyle)
        }
    }

    /// Both times, and for the URI.
    private static func styledThroughout(
        _ mistake: OAuth1Mistake, _ change: @escaping @Sendable (inout EncodingStyle) -> Void
    ) -> ParameterVariation {
        ParameterVariation(mistake) { recipe, _ in
            change(&recipe.nameStyle)
            change(&recipe.valueStyle)
            change(&recipe.outerStyle)
        }
    }

    private static func each(
        _ mistake: OAuth1Mistake, _ change: @escaping @Sendable (inout SignatureInput.Pair) -> Void
    ) -> ParameterVariation {
        ParameterVariation(mistake) { recipe, _ in
            for index in recipe.pairs.indices { change(&recipe.pairs[index]) }
        }
    }
}

extension ParameterRecipe {
    fileprivate mutating func takeRaw(names: Bool, values: Bool) {
        for index in pairs.indices where pairs[index].source != .header {
            if names { pairs[index].name = pairs[index].rawName }
            if values { pairs[index].value = pairs[index].rawValue }
        }
    }

    fileprivate mutating func add(_ name: [UInt8], _ value: [UInt8]) {
        pairs.append(.init(name: name, value: value, rawName: [], rawValue: [], source: .form))
    }

    fileprivate mutating func keep(
        _ isKept: (
            SignatureInput.Pair, ArraySlice<SignatureInput.Pair>, ArraySlice<SignatureInput.Pair>
        ) -> Bool
    ) {
        let all = pairs
        pairs = all.indices.filter { isKept(all[$0], all[..<$0], all[($0 + 1)...]) }.map { all[$0] }
    }
}

/// ISO 8859-1, whose characters are the first 256 of Unicode.
private enum Latin1 {
    /// The UTF-8 of the characters that the octets stand for.
    static func read(_ bytes: [UInt8]) -> [UInt8] {
        bytes.flatMap { $0 < 0x80 ? [$0] : [0xC0 | $0 >> 6, 0x80 | $0 & 0x3F] }
    }

    /// The octets of a text; `?` for what has none, as encoders write it.
    static func written(_ bytes: [UInt8]) -> [UInt8] {
        String(decoding: bytes, as: UTF8.self).unicodeScalars.map {
            UInt8(exactly: $0.value) ?? 0x3F
        }
    }
}

/// Compares first names, then values.
private func precedes(_ left: ([UInt8], [UInt8]), _ right: ([UInt8], [UInt8])) -> Bool {
    left.0 == right.0
        ? left.1.lexicographicallyPrecedes(right.1) : left.0.lexicographicallyPrecedes(right.0)
}
