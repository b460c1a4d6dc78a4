import HTTP
import Primitives
import Transport

/// What an exchange needs of its client: an HTTP/1.1 connection, or one stream of an HTTP/2 connection. How a message is
/// framed and when bytes leave is the stream's affair; the exchange says what, in order.
protocol ClientStream: AnyObject {
    var client: ClientPeer { get }

    // MARK: The request's body

    /// The client may send the body now: `100 (Continue)` (RFC 9110 section 10.1.1).
    func sendContinue()
    /// The exchange wants the body: the client's time runs.
    func awaitBody()
    /// The body is whole.
    func bodyTaken()
    /// Hands over bytes of the body that waited.
    func resume()

    // MARK: The answer

    /// Whether the client has not taken all that was written: the other side's reading must wait.
    var isCongested: Bool { get }
    /// Passes an interim answer on.
    ///
    /// - Parameter head: as `ResponseHeadWriter` wrote it for the version of the request.
    func sendInterim(status: Int, _ head: Span<UInt8>)
    /// Begins the answer; it leaves with the content that follows in the same turn, or with `flushAnswer`.
    ///
    /// - Parameters:
    ///   - head: as `ResponseHeadWriter` wrote it for the version of the request.
    ///   - framing: of the content that follows.
    func beginAnswer(status: Int, _ head: Span<UInt8>, framing: BodyFraming)
    /// Sends content of the answer.
    func sendContent(_ input: Span<UInt8>, _ range: Range<Int>)
    /// Lets go what this turn has put together.
    func flushAnswer()
    /// Forgets an answer of which nothing has left; false when it is too late.
    func retractAnswer() -> Bool
    /// The answer's content is complete, with its trailers; `exchangeEnded` follows.
    func endAnswer(_ trailers: Trailers)
    /// Sends an answer of the gateway's own, whole.
    ///
    /// - Parameters:
    ///   - bytes: as `ReplyWriter` wrote it: the head, then the content.
    ///   - contentCount: how many of the bytes, at their end, are content.
    func reply(status: Int, _ bytes: Span<UInt8>, contentCount: Int)
    /// The exchange is over: the client's next request may begin.
    ///
    /// - Parameter closes: the answer said `Connection: close`, or the framing is lost.
    func exchangeEnded(closes: Bool)
    /// No further request is taken on the connection; what is under way is finished.
    func endConnection()
    /// Ends at once and uncleanly: the answer was cut, and the client must see that it was.
    func abort()

    // MARK: Time

    /// The exchange must be over by then; the earliest of several limits counts.
    func limitExchange(to duration: Duration)
}

/// Who is at the other end of a client's connection, and where it came in: what stays as long as the connection does. In
/// one object, so that an exchange gets all of it by one reference.
final class ClientPeer {
    let listener: ListenerContext
    /// The client's address; `nil` on a unix socket.
    let address: IPAddress?
    /// The address as text, for log and upstream; `unix:` on a unix socket.
    let text: [UInt8]
    /// What TLS established; `nil` in clear.
    let tls: TLSFacts?

    init(_ listener: ListenerContext, _ address: IPAddress?, _ tls: TLSFacts?) {
        self.listener = listener
        self.address = address
        self.tls = tls
        text = ClientPeer.text(of: address)
    }

    static func text(of address: IPAddress?) -> [UInt8] {
        address.map { Array($0.description.utf8) } ?? Array("unix:".utf8)
    }
}

/// A client's connection, whatever it speaks, as its worker sees it.
protocol ClientConnection: EventHandler {
    /// Where it came in.
    var listener: ListenerContext { get }
    /// No further request is taken, as the gateway is going down or the connection was opened under other rules: an idle
    /// connection ends now, a busy one after its answers.
    func drain()
    /// Ends whatever is going on, for the end of the drain.
    func shutDown()
}
