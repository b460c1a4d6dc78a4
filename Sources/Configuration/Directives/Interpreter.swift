import Primitives

/// Gives the statements of a conf their meaning: checks each against the directive table, reads
/// its values and fills in a `Configuration`. The blocks are read in one file each.
struct Interpreter {
    var sink: DiagnosticSink
    var configuration = Configuration()
    let source: ConfigurationSource

    // What can be judged only when the whole conf has been read, with the places for the messages.
    var addresses: [Endpoint: SourceSpan] = [:]
    var routeUpstreams: [Argument] = []
    var upstreamNames: [String: SourceSpan] = [:]
    var authorityListeners: [Argument] = []
    var authoritySpan: SourceSpan?
    var storeSpan: SourceSpan?
    var clientScopes: [Argument] = []
    var issuerURLs: [String: SourceSpan] = [:]
    var bearerOnlyRoutes: [SourceSpan] = []
    /// Routes that want a token and a signature of the same client.
    var twofoldRoutes: [SourceSpan] = []
    /// `require client` without and with `of`.
    var unqualifiedClients: [SourceSpan] = []
    var clientIssuers: [Argument] = []
    /// `require dpop` on routes that any host reaches.
    var openProofs: [SourceSpan] = []
    /// Where a client's certificate is counted on.
    var certificateUses: [SourceSpan] = []
    var listenerNames: Set<String> = []
    var issuerNames: Set<String> = []
    var clientIDs: Set<String> = []
    var hostNames: Set<String> = []
    var routeKeys: Set<String> = []

    init(source: ConfigurationSource, sink: DiagnosticSink) {
        self.source = source
        self.sink = sink
    }
}

/// The statements of a block that may be read, and the names of all that stood there, readable or
/// not.
struct Block {
    var statements: [Statement] = []
    /// So that "needs 'address'" is not said of a block whose `address` was refused.
    var names: Set<String> = []
}

extension Interpreter {
    /// Checks the statements of a block against the table: what passes has a known name in its
    /// right place, a number of arguments and a body as the table says, and is there once if it
    /// may be there once.
    mutating func accept(_ statements: [Statement], in place: Place) -> Block {
        var block = Block()
        for written in statements {
            for statement in splitAtMissingSemicolons(written, in: place) {
                guard !sink.isFull else { return block }
                let isFirst = block.names.insert(statement.name.text).inserted
                guard let directive = directive(of: statement, in: place),
                    hasForm(statement, directive)
                else { continue }
                guard isFirst || directive.isRepeatable else {
                    sink.error(
                        "\(shown(directive.name)) is here twice", at: statement.name.span,
                        "it may stand once \(place.title)")
                    continue
                }
                if !statement.isFaulty { block.statements.append(statement) }
            }
        }
        return block
    }

    private mutating func directive(of statement: Statement, in place: Place) -> Directive? {
        let name = statement.name.text
        guard !statement.name.isFaulty else { return nil }
        if let directive = Directive.byPlace[place]?[name] {
            guard directive.isLater else { return directive }
            sink.error(
                "\(shown(name)) is not in this version of Gatehouse", at: statement.name.span)
            return nil
        }
        let elsewhere = Directive.places(of: name)
        guard elsewhere.isEmpty else {
            sink.error(
                "\(shown(name)) belongs \(listed(elsewhere.map(\.title))), not \(place.title)",
                at: statement.name.span)
            return nil
        }
        let here = (Directive.byPlace[place] ?? [:]).keys
        let near =
            nearestName(to: name, among: here) ?? nearestName(to: name, among: Directive.names)
        sink.error(
            "unknown directive \(shown(name))", at: statement.name.span,
            near.map { "did you mean \(shown($0))?" }
                ?? "expected \(listed(here.filter { isInThisVersion($0, place) }.sorted()))")
        return nil
    }

    private func isInThisVersion(_ name: String, _ place: Place) -> Bool {
        Directive.byPlace[place]?[name]?.isLater == false
    }

    private mutating func hasForm(_ statement: Statement, _ directive: Directive) -> Bool {
        let expected = "expected \(directive.syntax)"
        let count = statement.arguments.count
        if count < directive.argumentCount.lowerBound {
            let missing = directive.argumentCount.lowerBound == 1 ? "an argument" : "more arguments"
            sink.error(
                "\(shown(directive.name)) needs \(missing)", at: statement.lastWord.span.after,
                expected)
            return false
        }
        if count > directive.argumentCount.upperBound {
            let extra = statement.arguments[directive.argumentCount.upperBound]
            sink.error("\(shown(directive.name)) takes no such argument", at: extra.span, expected)
            return false
        }
        switch (directive.body, statement.block) {
        case (.none, .some):
            sink.error("\(shown(directive.name)) takes no block", at: statement.name.span, expected)
            return false
        case (.required, .none):
            sink.error("\(shown(directive.name)) needs a block", at: statement.name.span, expected)
            return false
        case (.none, .none), (.required, .some), (.optional, _):
            return true
        }
    }

    /// A statement that does not have its form because a `;` was forgotten before a directive on a
    /// new line is reported as that, and read as the two that were meant.
    private mutating func splitAtMissingSemicolons(
        _ statement: Statement, in place: Place
    ) -> [Statement] {
        var parts: [Statement] = []
        var rest = statement
        while let directive = Directive.byPlace[place]?[rest.name.text], !directive.isLater,
            rest.arguments.count > directive.argumentCount.upperBound
                || (directive.body == .none && rest.block != nil),
            let index = rest.arguments.firstIndex(where: {
                $0.startsLine && !$0.isQuoted && Directive.names.contains($0.text)
            })
        {
            let head = Statement(
                name: rest.name, arguments: Array(rest.arguments[..<index]), block: nil)
            sink.error(
                "\(shown(head.name.text)) is not ended", at: head.lastWord.span.after,
                "expected ';'")
            parts.append(head)
            rest = Statement(
                name: rest.arguments[index], arguments: Array(rest.arguments[(index + 1)...]),
                block: rest.block)
        }
        return parts + [rest]
    }

    /// A directive that the block cannot be without, where none of its name was written.
    mutating func demand(_ name: String, of block: Block, _ statement: Statement) {
        guard !block.names.contains(name) else { return }
        sink.error(
            "\(shown(statement.name.text)) needs \(shown(name))", at: statement.name.span,
            "expected \(syntax(of: name, in: statement))")
    }

    private func syntax(of name: String, in statement: Statement) -> String {
        let place = Place(rawValue: statement.name.text)
        return place.flatMap { Directive.byPlace[$0]?[name]?.syntax } ?? name
    }

    /// A name in the table without a reader is our mistake; the conf is refused rather than half
    /// read.
    mutating func unread(_ statement: Statement) {
        sink.error(
            "\(shown(statement.name.text)) is not in this version of Gatehouse",
            at: statement.name.span)
    }
}
