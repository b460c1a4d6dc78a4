/// Byte classes of RFC 9110 section 5.6 and RFC 3986, as bit sets over the ASCII range.
public enum ASCII {
    /// tchar: what methods and field names are made of.
    @inline(__always)
    static func isTokenCharacter(_ byte: UInt8) -> Bool {
        // ! # $ % & ' * + - . 0-9 in the low half; A-Z ^ _ ` a-z | ~ in the high half.
        let low: UInt64 = 0x03FF_6CFA_0000_0000
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
        if byte < 64 { return low >> UInt64(byte) & 1 == 1 }
        if byte < 128 { return high >> UInt64(byte - 64) & 1 == 1 }
        return false
    }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// 0 to 15, or 255 for a byte that is no hexadecimal digit.
    @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8 {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: 255
        }
    }

    static func equalIgnoringCase(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where lowercased(left[index]) != lowercased(right[index]) {
            return false
        }
        return true
    }

    /// The first byte above 0x7F from `start`, or `count`; eight bytes a step.
    static func firstHigh(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let raw = unsafe bytes.bytes
        var index = start
        while index + 8 <= bytes.count {
            // The loop's condition is the bound; any bit pattern is an integer.
            let word = unsafe UInt64(
                littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            let found = word & 0x8080_8080_8080_8080
            if found != 0 { return index + found.trailingZeroBitCount >> 3 }
            index += 8
        }
        while index < bytes.count, bytes[index] < 0x80 { index += 1 }
        return index
    }

    /// The first control byte (below 0x20, or 0x7F) from `start`, or `count`; sixteen bytes a step.
    static func firstControl(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let raw = unsafe bytes.bytes
        let last = bytes.count - 16
        var index = start
        while index <= last {
            // The loop's condition is the bound; any bit pattern is an integer.
            let step = unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: Bytes.self)
            let (low, high) = bits(
                (step .< Bytes(repeating: 0x20)) .| (step .== Bytes(repeating: 0x7F)))
            if low != 0 { return index &+ low.trailingZeroBitCount >> 3 }
            if high != 0 { return index &+ 8 &+ high.trailingZeroBitCount >> 3 }
            index &+= 16
        }
        while index < bytes.count {
            if bytes[index] < 0x20 || bytes[index] == 0x7F { return index }
            index += 1
        }
        return index
    }

    private typealias Bytes = SIMD16<UInt8>

    /// All bits of a byte are set where the mask holds: the first eight, the other eight. What `SIMDMask` has for this looks at
    /// one byte after the other.
    @inline(__always)
    private static func bits(_ mask: SIMDMask<SIMD16<Int8>>) -> (UInt64, UInt64) {
        let words = unsafe unsafeBitCast(mask, to: SIMD2<UInt64>.self)
        return (UInt64(littleEndian: words[0]), UInt64(littleEndian: words[1]))
    }
}

extension ASCII {
    /// The first byte from `start` that is no tchar, or `count`; eight bytes a step while they are letters, digits and `-`, as
    /// almost all names are.
    static func firstOutsideToken(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let raw = unsafe bytes.bytes
        let last = bytes.count - 8
        var index = start
        while index <= last {
            // The loop's condition is the bound; any bit pattern is an integer.
            let word = unsafe UInt64(
                littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            let found = ~usualName(word) & 0x8080_8080_8080_8080
            guard found == 0 else {
                index &+= found.trailingZeroBitCount >> 3
                break
            }
            index &+= 8
        }
        while index < bytes.count, isTokenCharacter(bytes[index]) { index += 1 }
        return index
    }

    /// The top bit of each byte that is a letter, a digit or `-`.
    @inline(__always)
    private static func usualName(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        // As in token68.
        let low = word & (ones &* 0x7F)
        let folded = low | ones &* 0x20
        let letters = (folded &+ ones &* (0x80 - 0x61)) & ~(folded &+ ones &* (0x80 - 0x7B))
        let digits = (low &+ ones &* (0x80 - 0x30)) & ~(low &+ ones &* (0x80 - 0x3A))
        let hyphen = (low &+ ones &* (0x80 - 0x2D)) & ~(low &+ ones &* (0x80 - 0x2E))
        return (letters | digits | hyphen) & ~word
    }

    /// The first byte from `start` that is none of `A-Z a-z 0-9 - . _ ~ + /`, of which token68 is made before its
    /// padding (RFC 9110 section 11.2), or `count`; sixteen bytes a step.
    public static func firstOutsideToken68(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let raw = unsafe bytes.bytes
        let last = bytes.count - 16
        var index = start
        while index <= last {
            // The loop's condition is the bound; any bit pattern is an integer.
            let step = unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: Bytes.self)
            guard isToken68(step) else { break }
            index &+= 16
        }
        // Where fewer are left the last sixteen, of which some were looked at, are as good a step.
        if index > last, last >= start,
            isToken68(unsafe raw.unsafeLoadUnaligned(fromByteOffset: last, as: Bytes.self))
        {
            return bytes.count
        }
        while index < bytes.count, isToken68(Bytes(repeating: bytes[index])) { index += 1 }
        return index
    }

    /// Whether all are of token68.
    @inline(__always)
    private static func isToken68(_ bytes: Bytes) -> Bool {
        // Both wrap below their first: then they are too large.
        let letter = (bytes | Bytes(repeating: 0x20)) &- Bytes(repeating: 0x61)
        let digit = bytes &- Bytes(repeating: 0x2D)
        // - . / 0-9 are neighbours.
        let fits =
            (letter .< Bytes(repeating: 26)) .| (digit .< Bytes(repeating: 13))
            .| (bytes .== Bytes(repeating: 0x2B)) .| (bytes .== Bytes(repeating: 0x5F))
            .| (bytes .== Bytes(repeating: 0x7E))
        let (low, high) = bits(fits)
        return low & high == .max
    }
}

/// The elements of a comma-separated list, without the white space around them; empty elements are skipped
/// (RFC 9110 section 5.6.1).
struct TokenList {
    private var position: Int
    private let end: Int

    init(_ range: Range<Int>) {
        position = range.lowerBound
        end = range.upperBound
    }

    mutating func next(in bytes: Span<UInt8>) -> Range<Int>? {
        while position < end {
            var start = position
            while position < end, bytes[position] != 0x2C { position += 1 }
            var stop = position
            position += 1
            while start < stop, bytes[start] == 0x20 || bytes[start] == 0x09 { start += 1 }
            while stop > start, bytes[stop - 1] == 0x20 || bytes[stop - 1] == 0x09 { stop -= 1 }
            if start < stop { return start..<stop }
        }
        return nil
    }
}
