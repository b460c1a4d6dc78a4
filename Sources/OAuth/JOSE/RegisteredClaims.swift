/// Where the claims stand whose names RFC 7519 section 4.1 and RFC 7800 section 3.1 register, but for `iss`, by which the token's
/// issuer was found before. All of these have three letters, and one look at each member finds them.
struct RegisteredClaims {
    private(set) var subject: Int?
    private(set) var audience: Int?
    private(set) var expiresAt: Int?
    private(set) var notBefore: Int?
    private(set) var issuedAt: Int?
    private(set) var tokenID: Int?
    private(set) var confirmation: Int?

    init(_ claims: borrowing JSONDocument) {
        _ = claims.forEachChild(of: 0) { node in
            switch claims.shortName(node) {
            case 0x73_75_62: subject = node  // sub
            case 0x61_75_64: audience = node  // aud
            case 0x65_78_70: expiresAt = node  // exp
            case 0x6E_62_66: notBefore = node  // nbf
            case 0x69_61_74: issuedAt = node  // iat
            case 0x6A_74_69: tokenID = node  // jti
            case 0x63_6E_66: confirmation = node  // cnf
            default: break
            }
            return true
        }
    }
}

extension JSONDocument {
    /// The bytes of a member's name in the order in which they are read, if it has three; otherwise 0.
    fileprivate func shortName(_ node: Int) -> UInt32 {
        let name = self.name(node)
        guard name.count == 3 else { return 0 }
        return UInt32(name[0]) << 16 | UInt32(name[1]) << 8 | UInt32(name[2])
    }
}
