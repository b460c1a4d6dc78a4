/// Names of files. What they hold is read when the configuration is put to use, not here.
extension Interpreter {
    enum FileKind {
        /// Must be there; readable by others is a warning.
        case secret
        /// Must be there.
        case open
    }

    /// A file's absolute path; a relative one is relative to the conf file that names it.
    mutating func path(_ argument: Argument) -> String? {
        let text = argument.text
        let resolved = resolvedPath(text, in: sink.files[argument.span.file].directory)
        // PATH_MAX counts the NUL.
        guard !text.isEmpty, !text.hasSuffix("/"), resolved.utf8.count <= 4095,
            !text.unicodeScalars.contains(where: isControl)
        else {
            sink.error("\(shown(text)) is no path of a file", at: argument.span, "expected FILE")
            return nil
        }
        return resolved
    }

    /// A file that must exist and be readable now.
    mutating func existingFile(_ argument: Argument, _ kind: FileKind) -> String? {
        guard let path = path(argument) else { return nil }
        switch source.inspect(path) {
        case .failure(let error):
            sink.error("cannot read \(shown(path)): \(error)", at: argument.span)
            return nil
        case .success(let facts):
            if kind == .secret { warnIfExposed(facts, path, argument) }
            return path
        }
    }

    /// The key file of `secrets`: made on first start, so it need not exist, but if it does it is
    /// a secret.
    mutating func keyFile(_ argument: Argument) -> String? {
        guard let path = path(argument) else { return nil }
        switch source.inspect(path) {
        case .success(let facts): warnIfExposed(facts, path, argument)
        case .failure(.notFound): break
        case .failure(let error):
            sink.error("cannot read \(shown(path)): \(error)", at: argument.span)
            return nil
        }
        return path
    }

    mutating func warnIfExposed(_ facts: FileFacts, _ path: String, _ argument: Argument) {
        guard facts.isReadableByOthers else { return }
        sink.warning(
            "the secret file \(shown(path)) is readable by everyone on this machine",
            at: argument.span, "chmod o-rwx takes that away")
    }
}
