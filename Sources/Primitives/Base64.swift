/// Base64 as RFC 4648 defines it, strictly: one spelling of the bytes is right, every other is refused.
///
/// Nothing is skipped, padding is required (`standard`) or forbidden (`url`), and the spare bits of the last
/// character must be zero, so that no two texts stand for the same signature or token.
public enum Base64 {
    public enum Alphabet: Sendable {
        /// RFC 4648 section 4, with padding.
        case standard
        /// RFC 4648 section 5, without padding, as RFC 7515 section 2 uses it.
        case url
    }

    /// Appends the bytes that `text` stands for to `output`.
    ///
    /// - Returns: false, with `output` as it was, when the text is not strict base64 of that alphabet.
    public static func decode(
        _ text: Span<UInt8>, _ alphabet: Alphabet, into output: inout [UInt8]
    ) -> Bool {
        var length = text.count
        switch alphabet {
        case .standard:
            guard length & 3 == 0 else { return false }
            if length > 0, text[length - 1] == 0x3D {
                length -= text[length - 2] == 0x3D ? 2 : 1
            }
        case .url:
            break
        }
        guard length & 3 != 1 else { return false }
        let before = output.count
        var isStrict = true
        let room = length / 4 * 3 + 2 + wideSlack
        output.append(addingCapacity: room) { (room: inout OutputSpan<UInt8>) in
            isStrict = decode(text.extracting(0..<length), alphabet, into: &room)
        }
        if !isStrict { output.removeSubrange(before...) }
        return isStrict
    }

    /// Four characters, three bytes a step; what is wrong is found out at the end of the step.
    private static func decode(
        _ text: Span<UInt8>, _ alphabet: Alphabet, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard var index = decodeWide(text, alphabet, into: &output) else { return false }
        let digits = alphabet == .url ? urlDigits : standardDigits
        let table = digits.span
        let whole = text.count & ~3
        while index < whole {
            let (first, second) = (table[Int(text[index])], table[Int(text[index + 1])])
            let (third, fourth) = (table[Int(text[index + 2])], table[Int(text[index + 3])])
            guard first | second | third | fourth < 64 else { return false }
            output.append(first << 2 | second >> 4)
            output.append(second << 4 | third >> 2)
            output.append(third << 6 | fourth)
            index += 4
        }
        guard index < text.count else { return true }
        // Two characters hold one byte and four spare bits, three hold two and two.
        let (first, second) = (table[Int(text[index])], table[Int(text[index + 1])])
        guard first | second < 64 else { return false }
        output.append(first << 2 | second >> 4)
        guard index + 2 < text.count else { return second & 15 == 0 }
        let third = table[Int(text[index + 2])]
        guard third < 64, third & 3 == 0 else { return false }
        output.append(second << 4 | third >> 2)
        return true
    }

    private typealias Bytes = SIMD16<UInt8>
    /// What a wide step may write behind what it decodes.
    private static let wideSlack = 2

    /// Sixteen characters, twelve bytes a step, as far as there are so many.
    ///
    /// - Returns: where the rest begins; `nil` where a character is none of the alphabet.
    private static func decodeWide(
        _ text: Span<UInt8>, _ alphabet: Alphabet, into output: inout OutputSpan<UInt8>
    ) -> Int? {
        let raw = unsafe text.bytes
        let (next, last): (UInt8, UInt8) = alphabet == .url ? (0x2D, 0x5F) : (0x2B, 0x2F)
        var (index, isStrict) = (0, true)
        unsafe output.withUnsafeMutableBufferPointer { room, count in
            let bytes = UnsafeMutableRawBufferPointer(room)
            while index + 16 <= text.count, count + 12 + wideSlack <= room.count {
                // The loop's condition is the bound, here and where it is written; any bit pattern is an integer.
                let characters = unsafe raw.unsafeLoadUnaligned(
                    fromByteOffset: index, as: Bytes.self)
                let values = digits(characters, next, last)
                guard (values.0 | values.1) & 0xC0C0_C0C0_C0C0_C0C0 == 0 else {
                    isStrict = false
                    return
                }
                unsafe bytes.storeBytes(of: packed(values.0), toByteOffset: count, as: UInt64.self)
                unsafe bytes.storeBytes(
                    of: packed(values.1), toByteOffset: count + 6, as: UInt64.self)
                index += 16
                count += 12
            }
        }
        return isStrict ? index : nil
    }

    /// What each of sixteen characters stands for; 255: nothing.
    @inline(__always)
    private static func digits(
        _ characters: Bytes, _ next: UInt8, _ last: UInt8
    ) -> (UInt64, UInt64) {
        let upper = characters &- Bytes(repeating: 0x41)
        let lower = characters &- Bytes(repeating: 0x61)
        let digit = characters &- Bytes(repeating: 0x30)
        let letters = Bytes(repeating: 26)
        var values = Bytes(repeating: 255)
        values.replace(with: upper, where: upper .< letters)
        values.replace(with: lower &+ letters, where: lower .< letters)
        values.replace(
            with: digit &+ Bytes(repeating: 52), where: digit .< Bytes(repeating: 10))
        values.replace(
            with: Bytes(repeating: 62), where: characters .== Bytes(repeating: next))
        values.replace(
            with: Bytes(repeating: 63), where: characters .== Bytes(repeating: last))
        let words = unsafe unsafeBitCast(values, to: SIMD2<UInt64>.self)
        return (UInt64(littleEndian: words[0]), UInt64(littleEndian: words[1]))
    }

    /// The six bytes of eight digits, in the order of memory, and two that mean nothing.
    @inline(__always)
    private static func packed(_ digits: UInt64) -> UInt64 {
        // Twelve bits of each two, then twenty-four of each four.
        let pairs =
            (digits & 0x00FF_00FF_00FF_00FF) << 6 | (digits >> 8 & 0x00FF_00FF_00FF_00FF)
        let fours =
            (pairs & 0x0000_FFFF_0000_FFFF) << 12 | (pairs >> 16 & 0x0000_FFFF_0000_FFFF)
        return ((fours & 0xFFFF_FFFF) << 40 | (fours >> 32) << 16).bigEndian
    }

    public static func decode(_ text: String, _ alphabet: Alphabet) -> [UInt8]? {
        var output: [UInt8] = []
        let bytes = Array(text.utf8)
        return decode(bytes.span, alphabet, into: &output) ? output : nil
    }

    public static func encode(_ bytes: [UInt8], _ alphabet: Alphabet) -> String {
        var output: [UInt8] = []
        encode(bytes.span, alphabet, into: &output)
        return String(decoding: output, as: UTF8.self)
    }

    /// Appends the text of `bytes` to `output`.
    public static func encode(
        _ bytes: Span<UInt8>, _ alphabet: Alphabet, into output: inout [UInt8]
    ) {
        output.reserveCapacity(output.count + (bytes.count + 2) / 3 * 4)
        var accumulator: UInt32 = 0
        var bits = 0
        for index in 0..<bytes.count {
            accumulator = accumulator << 8 | UInt32(bytes[index])
            bits += 8
            while bits >= 6 {
                bits -= 6
                output.append(character(UInt8(accumulator >> UInt32(bits) & 63), alphabet))
            }
        }
        if bits > 0 {
            output.append(character(UInt8(accumulator << UInt32(6 - bits) & 63), alphabet))
        }
        if case .standard = alphabet {
            for _ in 0..<((3 - bytes.count % 3) % 3) { output.append(0x3D) }
        }
    }

    private static let urlDigits = digits(.url)
    private static let standardDigits = digits(.standard)

    /// What each byte stands for; 255: nothing.
    private static func digits(_ alphabet: Alphabet) -> [UInt8] {
        (0...255).map { digit($0, alphabet) }
    }

    private static func digit(_ byte: UInt8, _ alphabet: Alphabet) -> UInt8 {
        switch byte {
        case 0x41...0x5A: byte - 0x41
        case 0x61...0x7A: byte - 0x61 + 26
        case 0x30...0x39: byte - 0x30 + 52
        case 0x2B: alphabet == .standard ? 62 : 255
        case 0x2F: alphabet == .standard ? 63 : 255
        case 0x2D: alphabet == .url ? 62 : 255
        case 0x5F: alphabet == .url ? 63 : 255
        default: 255
        }
    }

    @inline(__always)
    private static func character(_ value: UInt8, _ alphabet: Alphabet) -> UInt8 {
        switch value {
        case 0..<26: value + 0x41
        case 26..<52: value - 26 + 0x61
        case 52..<62: value - 52 + 0x30
        case 62: alphabet == .url ? 0x2D : 0x2B
        default: alphabet == .url ? 0x5F : 0x2F
        }
    }
}
