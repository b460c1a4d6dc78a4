/// A way to percent-encode; the default is the one of RFC 5849 section 3.6.
struct EncodingStyle {
    static let none: EncodingStyle = {
        var style = EncodingStyle()
        style.isNone = true
        return style
    }()

    /// What is left as it is although it is not unreserved.
    var kept: [UInt8] = []
    var encodesTilde = false
    var writesLowerHex = false
    var writesPlusForSpace = false
    /// Nothing is encoded at all.
    var isNone = false

    func encoded(_ bytes: [UInt8]) -> [UInt8] {
        if isNone { return bytes }
        var output: [UInt8] = []
        for byte in bytes {
            if byte == 0x20, writesPlusForSpace {
                output.append(0x2B)
            } else if kept.contains(byte) {
                output.append(byte)
            } else if byte == 0x7E, encodesTilde {
                output += writesLowerHex ? "%7e".utf8 : "%7E".utf8
            } else if writesLowerHex, !PercentCoding.isUnreserved(byte) {
                let digits = [byte >> 4, byte & 15].map(PercentCoding.upperHex)
                output.append(0x25)
                // The digits 0 to 9 have the bit already.
                output += digits.map { $0 | 0x20 }
            } else {
                PercentCoding.append(byte, to: &output)
            }
        }
        return output
    }
}
