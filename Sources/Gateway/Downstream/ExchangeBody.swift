import HTTP
import Primitives

/// The request's body on its way through an exchange: held for a verdict, or streamed to the upstream.
extension Exchange {
    // MARK: Holding

    /// Waits for the whole body, at most `limitBytes` of it, then goes on with `purpose`.
    func hold(for purpose: Purpose, limitBytes: Int) {
        if let remaining = body.remaining, remaining > limitBytes { return refuse(.bodyTooLarge) }
        self.purpose = purpose
        holdLimitBytes = min(limitBytes, bodyLimitBytes)
        heldBody.removeAll(keepingCapacity: true)
        stage = .holding
        if body.isFinished { return holdEnded() }
        askForBody()
    }

    /// The client may wait for `100 (Continue)` before it sends the body (RFC 9110 section 10.1.1).
    func askForBody() {
        if head.expectsContinue, !isContinueSent {
            isContinueSent = true
            downstream?.sendContinue()
        }
        downstream?.awaitBody()
    }

    func holdEnded() {
        downstream?.bodyTaken()
        if purpose != .authentication {
            // A form may take as long to come as its client likes: the endpoint answers by the clients and keys that there
            // are when it is whole. No route was chosen that could be another's by now.
            useNewestSnapshot()
            guard snapshot.authority(on: listener.name) != nil else { return refuse(.noRoute) }
        }
        switch purpose {
        case .authentication: authenticateWithBody()
        case .tokenEndpoint: AuthorityEndpoints.answerTokenRequest(self)
        case .introspection, .revocation: TokenManagement.answer(self)
        case .oauth1RequestToken, .oauth1AccessToken: authenticateWithBody()
        }
    }

    // MARK: What the connection asks

    /// Whether bytes of the body are wanted now.
    var wantsBody: Bool {
        switch stage {
        case .holding: !body.isFinished
        case .forwarding, .answering: !body.isFinished && !isBodyPaused
        case .idle, .suspended, .ended: false
        }
    }

    /// Whether the client must stop sending for now.
    var isBodyPaused: Bool {
        switch stage {
        case .forwarding, .answering:
            !body.isFinished && (upstream?.isCongested ?? true)
        case .suspended:
            !body.isFinished
        case .idle, .holding, .ended:
            false
        }
    }

    /// Whether the client may be silent for as long as it likes: a call of gRPC that its server has heard of, and that was
    /// let in for its credential or that its server has begun to answer as one. Nobody else may, whatever the content type
    /// says: anybody can write that, to a server that knows of no calls.
    var isOpenCall: Bool {
        guard head.isGRPC, upstream?.mayBeSilent == true else { return false }
        switch stage {
        case .forwarding: return permit?.principal != nil
        case .answering: return true
        case .idle, .holding, .suspended, .ended: return false
        }
    }

    /// Whether all of the request has been read from the client.
    var isBodyTaken: Bool { body.isFinished }

    /// Whether all of the request has been handed to the upstream.
    var isRequestSent: Bool { body.isFinished }

    /// Takes bytes of the body; returns where it stopped.
    func takeBody(_ input: Span<UInt8>, from offset: Int) -> Int {
        var next = offset
        do throws(HTTP1Error) {
            while wantsBody {
                switch try body.next(input, from: &next) {
                case .data(let range):
                    guard body.received <= bodyLimitBytes else {
                        refuse(.bodyTooLarge)
                        // Not behind the input: where the connection goes on, what follows is framed still.
                        return next
                    }
                    takeContent(input, range)
                case .needsMore:
                    return next
                case .end:
                    break
                }
                if body.isFinished { bodyEnded() }
            }
        } catch {
            bodyFault(error)
            return input.count
        }
        return next
    }

    /// Takes content that its connection has framed (HTTP/2), all of it.
    func takeFramedContent(_ input: Span<UInt8>) {
        body.take(input.count)
        guard body.received <= bodyLimitBytes else { return refuse(.bodyTooLarge) }
        takeContent(input, 0..<input.count)
    }

    /// Whether the rest of the body is of use: the client is to send it, or the server to take it.
    var isBodyExpected: Bool {
        switch stage {
        case .holding, .forwarding, .answering: !body.isFinished
        case .idle, .suspended, .ended: false
        }
    }

    /// Whether the body's time runs: the client is to send it, or a server that had begun to take it is to go on.
    var isBodyTimed: Bool { wantsBody || (hasStreamedBody && isBodyExpected) }

    /// A framed body has ended.
    func endFramedBody(_ trailers: Trailers) {
        body.end(trailers)
        bodyEnded()
    }

    /// The client sends no more into a tunnel.
    func clientEndedTunnel() {
        guard body.connectionEnded() else { return }
        bodyEnded()
    }

    private func takeContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        switch stage {
        case .holding:
            guard heldBody.count + range.count <= holdLimitBytes else {
                return refuse(.bodyTooLarge)
            }
            heldBody.append(input, range)
        case .forwarding, .answering:
            streamContent(input, range)
        case .idle, .suspended, .ended:
            break
        }
    }

    func bodyEnded() {
        switch stage {
        case .holding:
            holdEnded()
        case .forwarding, .answering:
            downstream?.bodyTaken()
            streamEnded()
        case .idle, .suspended, .ended:
            break
        }
    }

    /// Drops body bytes of a request that has been answered: true when the body has ended, nil when it is broken.
    func discardBody(_ input: Span<UInt8>, from offset: inout Int) -> Bool? {
        do throws(HTTP1Error) {
            while !body.isFinished {
                if case .needsMore = try body.next(input, from: &offset) { return false }
            }
            return true
        } catch {
            return nil
        }
    }
}
