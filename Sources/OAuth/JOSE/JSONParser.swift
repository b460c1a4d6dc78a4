import Primitives

extension JSONDocument {
    /// Reads `text`, and forgets what was read before; the memory is kept.
    ///
    /// - Throws: the document holds nothing useful then.
    public mutating func read(_ text: Span<UInt8>, limits: Limits = Limits()) throws(JSONError) {
        bytes.removeAll(keepingCapacity: true)
        bytes.append(text)
        try readBytes(limits: limits)
    }

    /// Reads base64url text (RFC 7515 section 2) that stands for JSON.
    ///
    /// - Throws: `.syntax(offset: 0)` for a text that is not strict base64url.
    mutating func read(base64URL text: Span<UInt8>, limits: Limits) throws(JSONError) {
        bytes.removeAll(keepingCapacity: true)
        guard Base64.decode(text, .url, into: &bytes) else { throw .syntax(offset: 0) }
        try readBytes(limits: limits)
    }

    private mutating func readBytes(limits: Limits) throws(JSONError) {
        nodes.removeAll(keepingCapacity: true)
        textCount = bytes.count
        // Offsets are kept in 32 bits; a text of more than a megabyte is nobody's token or key set.
        guard textCount <= 1 << 20 else { throw .limit }
        var position = 0
        skipSpace(&position)
        try readValue(&position, name: 0..<0, nameHash: 0, depth: 0, limits)
        skipSpace(&position)
        guard position == textCount else { throw .syntax(offset: position) }
    }

    private func byte(_ position: Int) -> UInt8 {
        // 0 is no byte of any JSON token, and ends them all.
        position < textCount ? bytes[position] : 0
    }

    private func skipSpace(_ position: inout Int) {
        while true {
            switch byte(position) {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    private mutating func readValue(
        _ position: inout Int, name: Range<Int32>, nameHash: UInt32, depth: Int, _ limits: Limits
    ) throws(JSONError) {
        guard depth < limits.depth, nodes.count < limits.nodes else { throw .limit }
        let start = Int32(position)
        let kind: Kind
        switch byte(position) {
        case 0x7B, 0x5B:
            return try readContainer(&position, name, nameHash, depth: depth, limits)
        case 0x22:
            let value = try readString(&position)
            return append(.string, name, nameHash, value)
        case 0x2D, 0x30...0x39:
            kind = .number
            try readNumber(&position)
        case 0x74:
            kind = .true
            try readWord("true", &position)
        case 0x66:
            kind = .false
            try readWord("false", &position)
        default:
            kind = .null
            try readWord("null", &position)
        }
        append(kind, name, nameHash, start..<Int32(position))
    }

    /// Appends a value as one without children.
    private mutating func append(
        _ kind: Kind, _ name: Range<Int32>, _ nameHash: UInt32, _ value: Range<Int32>
    ) {
        nodes.append(
            Node(
                kind: kind, name: name, nameHash: nameHash, value: value,
                end: Int32(nodes.count + 1)))
    }

    /// Reads an object or an array, with what is in it.
    private mutating func readContainer(
        _ position: inout Int, _ name: Range<Int32>, _ nameHash: UInt32, depth: Int,
        _ limits: Limits
    ) throws(JSONError) {
        let index = nodes.count
        let start = Int32(position)
        let isObject = byte(position) == 0x7B
        append(isObject ? .object : .array, name, nameHash, start..<start)
        if isObject {
            try readObject(&position, index: index, depth: depth, limits)
        } else {
            try readArray(&position, depth: depth, limits)
        }
        nodes[index].value = start..<Int32(position)
        nodes[index].end = Int32(nodes.count)
    }

    private mutating func readObject(
        _ position: inout Int, index: Int, depth: Int, _ limits: Limits
    ) throws(JSONError) {
        position += 1
        skipSpace(&position)
        if byte(position) == 0x7D {
            position += 1
            return
        }
        var members = 0
        while true {
            guard byte(position) == 0x22 else { throw .syntax(offset: position) }
            let start = position
            let name = try readString(&position)
            members += 1
            guard members <= limits.members else { throw .limit }
            let hash = JSONDocument.hash(bytes, name)
            guard !names(name, hash, in: index) else { throw .duplicateName(offset: start) }
            skipSpace(&position)
            guard byte(position) == 0x3A else { throw .syntax(offset: position) }
            position += 1
            skipSpace(&position)
            try readValue(
                &position, name: name, nameHash: hash, depth: depth + 1, limits)
            if try readSeparator(&position, closing: 0x7D) { return }
        }
    }

    private mutating func readArray(
        _ position: inout Int, depth: Int, _ limits: Limits
    ) throws(JSONError) {
        position += 1
        skipSpace(&position)
        if byte(position) == 0x5D {
            position += 1
            return
        }
        while true {
            try readValue(&position, name: 0..<0, nameHash: 0, depth: depth + 1, limits)
            if try readSeparator(&position, closing: 0x5D) { return }
        }
    }

    /// - Returns: true at the closing bracket, false behind a comma.
    private func readSeparator(
        _ position: inout Int, closing: UInt8
    ) throws(JSONError) -> Bool {
        skipSpace(&position)
        let found = byte(position)
        guard found == closing || found == 0x2C else { throw .syntax(offset: position) }
        position += 1
        if found == closing { return true }
        skipSpace(&position)
        return false
    }

    /// Whether the object, of which all members so far are in the list, has a member of that name.
    private func names(_ name: Range<Int32>, _ hash: UInt32, in object: Int) -> Bool {
        var child = object + 1
        while child < nodes.count {
            let other = nodes[child]
            if other.nameHash == hash,
                bytes.span.extracting(range(other.name)).equals(bytes.span.extracting(range(name)))
            {
                return true
            }
            child = Int(other.end)
        }
        return false
    }

    private func readWord(_ word: StaticString, _ position: inout Int) throws(JSONError) {
        let start = position
        let isThere = word.withUTF8Buffer { buffer in
            for index in 0..<buffer.count {
                if unsafe byte(start + index) != buffer[index] { return false }
            }
            return true
        }
        guard isThere else { throw .syntax(offset: start) }
        position = start + word.utf8CodeUnitCount
    }

    /// RFC 8259 section 6: no plus, no leading zero, digits on both sides of a point.
    private func readNumber(_ position: inout Int) throws(JSONError) {
        if byte(position) == 0x2D { position += 1 }
        if byte(position) == 0x30 {
            position += 1
        } else {
            try readDigits(&position)
        }
        if byte(position) == 0x2E {
            position += 1
            try readDigits(&position)
        }
        if byte(position) | 0x20 == 0x65 {
            position += 1
            if byte(position) == 0x2B || byte(position) == 0x2D { position += 1 }
            try readDigits(&position)
        }
    }

    private func readDigits(_ position: inout Int) throws(JSONError) {
        let start = position
        while byte(position) >= 0x30, byte(position) <= 0x39 { position += 1 }
        guard position > start else { throw .syntax(offset: start) }
    }

    /// - Returns: where its text lies: in place, or behind the document if it had escapes.
    private mutating func readString(_ position: inout Int) throws(JSONError) -> Range<Int32> {
        position += 1
        let start = position
        while true {
            position = JSONText.endOfPlain(
                bytes.span.extracting(0..<textCount), from: position)
            // Checked here, since a NUL byte is not the end of the text.
            guard position < textCount else { throw .syntax(offset: position) }
            switch bytes[position] {
            case 0x22:
                position += 1
                return Int32(start)..<Int32(position - 1)
            case 0x5C:
                return try readEscapedString(from: start, &position)
            case 0..<0x20:
                throw .syntax(offset: position)
            default:
                position += try sequenceLength(position)
            }
        }
    }

    /// Goes on at the first escape, with a copy of what came before.
    private mutating func readEscapedString(
        from start: Int, _ position: inout Int
    ) throws(JSONError) -> Range<Int32> {
        let copy = bytes.count
        for index in start..<position { bytes.append(bytes[index]) }
        while true {
            guard position < textCount else { throw .syntax(offset: position) }
            let byte = bytes[position]
            switch byte {
            case 0x22:
                position += 1
                return Int32(copy)..<Int32(bytes.count)
            case 0x5C:
                try readEscape(&position)
            case 0..<0x20:
                throw .syntax(offset: position)
            case 0x20...0x7F:
                bytes.append(byte)
                position += 1
            default:
                for _ in 0..<(try sequenceLength(position)) {
                    bytes.append(bytes[position])
                    position += 1
                }
            }
        }
    }

    private func sequenceLength(_ position: Int) throws(JSONError) -> Int {
        let length = JSONText.sequenceLength(bytes.span.extracting(0..<textCount), at: position)
        guard length > 0 else { throw .syntax(offset: position) }
        return length
    }

    private mutating func readEscape(_ position: inout Int) throws(JSONError) {
        let start = position
        let letter = byte(position + 1)
        position += 2
        switch letter {
        case 0x22, 0x5C, 0x2F: bytes.append(letter)
        case 0x62: bytes.append(0x08)
        case 0x66: bytes.append(0x0C)
        case 0x6E: bytes.append(0x0A)
        case 0x72: bytes.append(0x0D)
        case 0x74: bytes.append(0x09)
        case 0x75:
            var value = try readHex(&position)
            if value & 0xFC00 == 0xD800 {
                guard byte(position) == 0x5C, byte(position + 1) == 0x75 else {
                    throw .syntax(offset: start)
                }
                position += 2
                let low = try readHex(&position)
                guard low & 0xFC00 == 0xDC00 else { throw .syntax(offset: start) }
                value = 0x10000 + (value & 0x3FF) << 10 + low & 0x3FF
            }
            // A lone surrogate is no character, and two readers would differ about it.
            guard let scalar = Unicode.Scalar(value) else { throw .syntax(offset: start) }
            bytes.append(contentsOf: String(scalar).utf8)
        default:
            throw .syntax(offset: start)
        }
    }

    private func readHex(_ position: inout Int) throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let digit = byte(position)
            switch digit {
            case 0x30...0x39: value = value << 4 | UInt32(digit - 0x30)
            case 0x41...0x46: value = value << 4 | UInt32(digit - 0x37)
            case 0x61...0x66: value = value << 4 | UInt32(digit - 0x57)
            default: throw .syntax(offset: position)
            }
            position += 1
        }
        return value
    }
}
