/// What must be done in one piece: Lua scripts, which Redis runs with nothing in between. Each is loaded when a
/// connection opens and called by its digest. (MULTI/EXEC cannot decide anything, and is refused even for reading
/// when Redis has no memory left.)
///
/// Numbers in Lua are doubles: times in microseconds are exact until the year 2255.
enum RedisScript: String, CaseIterable, Sendable {
    /// Makes the prefix ours where it is empty, and tells whose it is.
    /// KEYS: store, then all that would be somebody else's. ARGV: version, canary.
    case open = """
        local kind = redis.call('TYPE', KEYS[1]).ok
        if kind == 'none' then
            for i = 2, #KEYS do
                if redis.call('EXISTS', KEYS[i]) == 1 then return {} end
            end
            redis.call('HSET', KEYS[1], 'application', 'gatehouse',
                'version', ARGV[1], 'canary', ARGV[2])
        elseif kind ~= 'hash' then
            return {}
        end
        return redis.call('HMGET', KEYS[1], 'application', 'version', 'canary')
        """

    /// Joins the epoch, or begins one where what was there may be incomplete: there is none, or another process
    /// serves it than the one that it was begun on. Whoever joins raises the floor to what it has seen.
    /// KEYS: epoch. ARGV: the id that is known, run_id, the highest timestamp seen or '', a new id.
    case join = """
        local epoch = redis.call('HMGET', KEYS[1], 'id', 'floor', 'run_id')
        local floor = tonumber(ARGV[3]) or 0
        if epoch[2] then floor = math.max(floor, tonumber(epoch[2]) or 0) end
        if epoch[1] and epoch[3] == ARGV[2] then
            if epoch[1] ~= ARGV[1] then
                redis.call('HSET', KEYS[1], 'floor', string.format('%.0f', floor))
            end
            return epoch[1]
        end
        floor = math.max(floor, tonumber(redis.call('TIME')[1]))
        redis.call('HSET', KEYS[1], 'id', ARGV[4], 'floor', string.format('%.0f', floor),
            'run_id', ARGV[2])
        return ARGV[4]
        """

    /// The windows are kept as `SECONDS:TIMESTAMP …`, without those that a shorter one with a later timestamp
    /// covers; more than eight become the one that covers all.
    /// KEYS: epoch, the id. ARGV: the epoch's id, timestamp or '', milliseconds, window in seconds or '', the
    /// epoch's field of windows.
    case once = """
        local epoch = redis.call('HMGET', KEYS[1], 'id', 'floor', ARGV[5])
        if epoch[1] ~= ARGV[1] then return 'epoch' end
        local timestamp, window = tonumber(ARGV[2]), tonumber(ARGV[4])
        if timestamp and timestamp <= tonumber(epoch[2]) then return 'floor' end
        if timestamp and window then
            local now = tonumber(redis.call('TIME')[1])
            local kept, isCovered = {}, false
            local shortest, latest = window, timestamp
            for seconds, last in string.gmatch(epoch[3] or '', '(%d+):(%d+)') do
                seconds, last = tonumber(seconds), tonumber(last)
                if seconds < window and timestamp <= last and timestamp <= now - seconds then
                    return 'floor'
                end
                if seconds <= window and last >= timestamp then isCovered = true end
                if seconds < window or last > timestamp then
                    kept[#kept + 1] = string.format('%.0f:%.0f', seconds, last)
                end
                shortest, latest = math.min(shortest, seconds), math.max(latest, last)
            end
            if not isCovered then
                kept[#kept + 1] = string.format('%.0f:%.0f', window, timestamp)
                if #kept > 8 then kept = {string.format('%.0f:%.0f', shortest, latest)} end
                redis.call('HSET', KEYS[1], ARGV[5], table.concat(kept, ' '))
            end
        end
        if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then return 'accepted' end
        return 'reused'
        """

    /// KEYS: the token that goes, the one that comes. ARGV: now in seconds, the one that comes, milliseconds.
    case exchange = """
        local value = redis.call('GET', KEYS[1])
        if not value then return 0 end
        local isJSON, token = pcall(cjson.decode, value)
        if not isJSON or type(token) ~= 'table' or type(token.expires_at) ~= 'number' then
            return redis.error_reply('CORRUPT a token is not what was written')
        end
        if token.expires_at <= tonumber(ARGV[1]) then return 0 end
        redis.call('DEL', KEYS[1])
        if tonumber(ARGV[3]) > 0 then
            redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
        end
        return 1
        """

    /// Numbers go up with the clock, so that none is given twice even after some were lost.
    /// KEYS: last, revocations, order, expiry. ARGV: target, issued before, until.
    case revoke = """
        local before, ends = tonumber(ARGV[2]), tonumber(ARGV[3])
        local value = redis.call('HGET', KEYS[2], ARGV[1])
        local isJSON, old = pcall(cjson.decode, value or '')
        if isJSON and type(old) == 'table' and tonumber(old.issued_before)
            and tonumber(old['until']) then
            if old.issued_before >= before and old['until'] >= ends then return 0 end
            before = math.max(before, old.issued_before)
            ends = math.max(ends, old['until'])
        end
        local time = redis.call('TIME')
        local last = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') + 1,
            time[1] * 1000000 + time[2])
        redis.call('SET', KEYS[1], string.format('%.0f', last))
        redis.call('HSET', KEYS[2], ARGV[1],
            string.format('{"issued_before":%.0f,"until":%.0f}', before, ends))
        redis.call('ZADD', KEYS[3], string.format('%.0f', last), ARGV[1])
        redis.call('ZADD', KEYS[4], string.format('%.0f', ends), ARGV[1])
        return 1
        """

    /// The oldest behind a number; all of them where that number was never given.
    /// KEYS: last, revocations, order. ARGV: number, at most how many.
    case revocations = """
        local last = redis.call('GET', KEYS[1]) or '0'
        local from = '(' .. ARGV[1]
        if tonumber(ARGV[1]) > tonumber(last) then from = '-inf' end
        local found = redis.call('ZRANGEBYSCORE', KEYS[3], from, '+inf', 'WITHSCORES',
            'LIMIT', 0, ARGV[2])
        local answer = {last}
        for i = 1, #found, 2 do
            answer[#answer + 1] = string.format('%.0f', found[i + 1])
            answer[#answer + 1] = found[i]
            answer[#answer + 1] = redis.call('HGET', KEYS[2], found[i]) or ''
        end
        return answer
        """

    /// KEYS: revocations, order, expiry. ARGV: now in seconds, at most how many.
    case purge = """
        local found = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
        for i = 1, #found do
            redis.call('HDEL', KEYS[1], found[i])
            redis.call('ZREM', KEYS[2], found[i])
            redis.call('ZREM', KEYS[3], found[i])
        end
        return #found
        """

    /// Clients and keys as they stand together.
    /// KEYS: generation, clients, keys.
    case read = """
        return {redis.call('GET', KEYS[1]) or '', redis.call('HGETALL', KEYS[2]),
            redis.call('HGETALL', KEYS[3])}
        """

    /// Changes clients and keys if nobody has since they were read; so that whatever a change depends on may be
    /// decided here, and this one script is enough for all of them.
    /// KEYS: generation, clients, keys. ARGV: the generation that was read or '', then for each change
    /// 2 or 3 (which of KEYS), the field, the new value or '' to remove it.
    case change = """
        local generation = redis.call('GET', KEYS[1]) or ''
        if generation ~= ARGV[1] then return 0 end
        for i = 2, #ARGV, 3 do
            local key = KEYS[tonumber(ARGV[i])]
            if ARGV[i + 2] == '' then
                redis.call('HDEL', key, ARGV[i + 1])
            else
                redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2])
            end
        end
        local time = redis.call('TIME')
        local new = math.max((tonumber(generation) or 0) + 1, time[1] * 1000000 + time[2])
        redis.call('SET', KEYS[1], string.format('%.0f', new))
        return 1
        """
}

/// The keys under a prefix.
struct RedisKeys: Sendable {
    let prefix: String

    /// A hash: whose all this is, and what tells a wrong secrets key.
    var store: String { prefix + "store" }
    /// A hash: id, floor and run_id.
    var epoch: String { prefix + "epoch" }
    /// Hashes of JSON, by client id and kid.
    var clients: String { prefix + "clients" }
    var signingKeys: String { prefix + "signing_keys" }
    /// Grows with each change of those two.
    var generation: String { prefix + "generation" }
    /// A hash of JSON by target; the number given last; targets by number, and by when they may go.
    var revocations: String { prefix + "revocations" }
    var lastRevocation: String { prefix + "revocations:last" }
    var revocationOrder: String { prefix + "revocations:order" }
    var revocationExpiry: String { prefix + "revocations:expiry" }

    var tokens: String { prefix + "token:" }
    var onceIDs: String { prefix + "once:" }

    /// JSON, until it expires.
    func token(_ id: [UInt8]) -> String { tokens + HexBytes(id).text }
    /// The timestamp or nothing, until it expires.
    func once(_ id: OneTimeID) -> String {
        "\(onceIDs)\(id.space.rawValue):\(HexBytes(id.fingerprint).text)"
    }
}
