/// The one rule for values of a credential that become header values for the upstream: client and
/// subject. That for scopes is stricter.
///
/// A value with a control (CR, LF, NUL, tab, DEL), an empty one, one that begins or ends with a
/// space, or one of more than 1024 bytes is refused: a header would cut it, trim it or break on
/// it, and the upstream would see another identity than the one that was proven (RFC 9110 section
/// 5.5).
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
}
