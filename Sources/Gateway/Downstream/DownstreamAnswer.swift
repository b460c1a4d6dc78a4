import HTTP
import Primitives

/// An answer on its way to an HTTP/1.1 client: framed, and put together in the worker's buffer so that a head and its first
/// content leave in one write.
extension DownstreamConnection {
    func sendContinue() {
        let line: [UInt8] = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
        write(line.span)
    }

    func sendInterim(status: Int, _ head: Span<UInt8>) {
        write(head)
    }

    func reply(status: Int, _ bytes: Span<UInt8>, contentCount: Int) {
        writeLast(bytes)
    }

    func beginAnswer(status: Int, _ head: Span<UInt8>, framing: BodyFraming) {
        answerFraming = framing
        hasAnswerLeft = false
        claimAnswerBuffer()
        worker.answer.append(head)
    }

    /// The worker's buffer serves one connection at a time: what another has left in it goes out first.
    private func claimAnswerBuffer() {
        if worker.answering === self { return }
        worker.answering?.flushAnswer()
        worker.answer.removeAll(keepingCapacity: true)
        worker.answering = self
    }

    func sendContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        switch answerFraming {
        case .none:
            break
        case .length, .untilClose:
            // Joined to the head where that still waits.
            if worker.answering === self {
                worker.answer.append(input, range)
            } else {
                write(input.extracting(range))
            }
        case .chunked:
            claimAnswerBuffer()
            HTTP1Writer.appendChunkHeader(size: range.count, to: &worker.answer)
            worker.answer.append(input, range)
            worker.answer.append("\r\n")
        }
    }

    func flushAnswer() {
        flushAnswer(isLast: false)
    }

    private func flushAnswer(isLast: Bool) {
        guard worker.answering === self else { return }
        worker.answering = nil
        hasAnswerLeft = true
        // Moved out and back: two references to it would make the next answer pay for a new buffer.
        var answer: [UInt8] = []
        swap(&answer, &worker.answer)
        if isLast { writeLast(answer.span) } else { write(answer.span) }
        guard worker.answering == nil else { return }
        answer.removeAll(keepingCapacity: true)
        swap(&answer, &worker.answer)
    }

    /// Not once another connection has claimed the buffer and so sent the head off: what is in it then is content.
    func retractAnswer() -> Bool {
        guard worker.answering === self, !hasAnswerLeft else { return false }
        dropAnswer()
        return true
    }

    func dropAnswer() {
        guard worker.answering === self else { return }
        worker.answering = nil
        worker.answer.removeAll(keepingCapacity: true)
    }

    func endAnswer(_ trailers: Trailers) {
        if answerFraming == .chunked {
            claimAnswerBuffer()
            worker.answer.append("0\r\n")
            TrailerWriter.append(trailers, to: &worker.answer)
            worker.answer.append("\r\n")
        }
        flushAnswer(isLast: true)
    }
}
