import OAuth

// Arguments: words of seams' names; `memory`: the million.

let words = Array(CommandLine.arguments.dropFirst())
if words == ["memory"] {
    try Million.run()
} else {
    let bearer = "Bearer " + String(decoding: try Mint(.rs256).token(1), as: UTF8.self)
    let seams =
        [
            HeadSeams.http1(authorization: bearer),
            RouteSeams.match(routes: 1, hosts: 0), RouteSeams.match(routes: 100, hosts: 0),
            RouteSeams.match(routes: 100, hosts: 10),
            try CredentialSeams.cached(1), try CredentialSeams.cached(10_000),
            try CredentialSeams.verified(.es256), try CredentialSeams.verified(.rs256),
            try CredentialSeams.verified(.hs256), try CredentialSeams.oauth1(),
        ] + HeadSeams.http2(authorization: bearer)
    let wanted = seams.filter { seam in
        words.isEmpty || words.contains { seam.name.lowercased().contains($0.lowercased()) }
    }
    guard !wanted.isEmpty else { fatalError("no such seam") }
    Measuring.printHeading()
    for seam in wanted { Measuring.run(seam) }
}
