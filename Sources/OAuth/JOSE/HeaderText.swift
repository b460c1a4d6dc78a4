/// The one rule for values of a credential that become header values for the upstream: client,
/// subject, scopes.
///
/// - A value with a control (CR, LF, NUL, tab, DEL), an empty one, one that begins or ends with a
///   space, or one of more than 1024 bytes is refused: a header would cut it, trim it or break on
///   it, and the upstream would see another identity than the one that was proven (RFC 9110 section
///   5.5).
/// - Every other value is written with its bytes outside ASCII, and `%`, percent-encoded. No two
///   values are written alike: without encoding `%` a client named `%C3%A9` would be another one
///   named `é`.
public enum HeaderText {
    public static let limitBytes = 1024

    /// Whether the UTF-8 text may become a header value.
    public static func isAcceptable(_ text: Span<UInt8>) -> Bool {
        guard text.count > 0, text.count <= limitBytes, text[0] != 0x20,
            text[text.count - 1] != 0x20
        else { return false }
        for index in 0..<text.count where text[index] < 0x20 || text[index] == 0x7F {
            return false
        }
        return true
    }

    public static func isAcceptable(_ text: String) -> Bool {
        isAcceptable(text.utf8Span.span)
    }

    /// Appends the value in the form that a header carries.
    ///
    /// - Precondition: the text is acceptable.
    public static func append(_ text: String, to output: inout [UInt8]) {
        for byte in text.utf8 {
            switch byte {
            case 0x25, 0x80...0xFF:
                output.append(0x25)
                output.append(hexDigit(byte >> 4))
                output.append(hexDigit(byte & 15))
            default:
                precondition(byte >= 0x20 && byte != 0x7F, "not checked before it was written")
                output.append(byte)
            }
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? value + 0x30 : value + 0x37
    }
}
