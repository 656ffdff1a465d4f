"""The function in the database that appends: one call is one round trip and one transaction. Pure: SQL.

It locks the rooms by name, so that two nodes never wait for each other; numbers what may be stored; and
answers with an array: two numbers for each event (the first ones of all, then the second ones), and for each
room the versions of its facts before and after.

==========  ==========  ==============================================================
first       second
==========  ==========  ==============================================================
``seq``     0           it is stored
``-seq``    ``at_ms``   its author and id were stored before, in that event
0           0           facts without an event: they are kept
0           a refusal   nothing is stored, see below
==========  ==========  ==============================================================

That is written down with the writer's number of the batch: whoever does not know what became of a batch
submits it again, and gets the same answer.

An event's JSON has its ``seq`` inside: it is put together here out of what stands before and behind it.
"""

STALE_RULES = 1
"""The room's facts are others than the writer knew."""
CHANGED = 2
"""The message to be changed is another one by now, or gone."""
GONE = 3
"""The room has another epoch, or is not there any more."""
NOT_NEW = 4
"""The room has events already."""

APPENDING_1 = f"""
CREATE FUNCTION append(
    writer text, batch bigint, has_new_rooms boolean,
    -- rooms, sorted by name; as JSON; the version of the facts that is known; the events known to be there
    r_name text[], r_json text[], r_epoch text[], r_version bigint[], r_head bigint[],
    -- who is in rooms of two, by number of the room
    d_room integer[], d_who text[],
    -- events by number of the room, what stands behind the seq; facts without an event have no kind
    e_room integer[], e_kind text[], e_author text[], e_id text[], e_at_ms bigint[], e_tail text[],
    e_words text[],
    -- changes by number of the event: of which message, as of which change, and what becomes of it
    c_event integer[], c_of bigint[], c_version bigint[], c_body text[], c_words text[], c_reindex boolean[],
    -- facts by number of the event; null takes one away
    f_event integer[], f_name text[], f_value text[],
    -- entries of the audit log by number of the event
    a_event integer[], a_at_ms bigint[], a_actor text[], a_action text[], a_room text[], a_target text[],
    a_detail text[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    done_number bigint;
    done_result bigint[];
    names text[];           -- of the rooms that are there
    ids bigint[];           -- by room
    heads bigint[];
    epochs text[];
    refusals integer[];
    versions bigint[];
    seqs bigint[];          -- by event: the first number of its answer
    whys bigint[];          -- by event: the second one
    before bigint[];
    place integer;
BEGIN
    SELECT number, result INTO done_number, done_result FROM writers WHERE id = writer FOR UPDATE;
    IF done_number = batch THEN
        RETURN done_result;
    END IF;
    IF done_number IS NULL OR done_number > batch THEN
        RAISE EXCEPTION 'batch % of writer % comes too late', batch, writer;
    END IF;

    IF has_new_rooms THEN
        INSERT INTO rooms (name, epoch)
            SELECT name, epoch FROM unnest(r_name, r_epoch, r_head) AS asked (name, epoch, head)
            WHERE head = 0 AND NOT EXISTS (SELECT FROM rooms WHERE rooms.name = asked.name)
            ORDER BY name
            ON CONFLICT DO NOTHING;
    END IF;
    WITH locked AS MATERIALIZED (
        SELECT id, name, epoch, head, version FROM rooms WHERE name = ANY (r_name)
        ORDER BY name FOR NO KEY UPDATE
    )
    SELECT array_agg(name), array_agg(id), array_agg(head), array_agg(version), array_agg(epoch)
        INTO names, ids, heads, versions, epochs FROM locked;
    IF names IS DISTINCT FROM r_name THEN
        -- Some are not there: the others get their places.
        SELECT array_agg(ids[found]), array_agg(heads[found]), array_agg(versions[found]),
            array_agg(epochs[found])
            INTO ids, heads, versions, epochs
            FROM (
                SELECT array_position(names, name) AS found
                FROM unnest(r_name) WITH ORDINALITY AS one (name, nth)
                ORDER BY nth
            ) AS places;
    END IF;
    SELECT array_agg(CASE
            WHEN id IS NULL OR epoch <> known_epoch THEN {GONE}
            WHEN version > known_version THEN {STALE_RULES}
            ELSE 0
        END ORDER BY nth)
        INTO refusals
        FROM unnest(ids, epochs, versions, r_epoch, r_version)
            WITH ORDINALITY AS one (id, epoch, version, known_epoch, known_version, nth);
    before := versions;
    IF cardinality(d_room) > 0 THEN
        INSERT INTO directs (who, room_id)
            SELECT who, ids[room] FROM unnest(d_room, d_who) AS pair (room, who) WHERE ids[room] IS NOT NULL
            ON CONFLICT DO NOTHING;
    END IF;

    -- What was stored before, and what must not be stored.
    SELECT array_agg(coalesce(-old.seq, 0) ORDER BY nth),
        array_agg(coalesce(old.at_ms, CASE
            WHEN given.kind IS NULL AND refusals[room] = {STALE_RULES} THEN 0
            ELSE refusals[room]
        END) ORDER BY nth)
        INTO seqs, whys
        FROM unnest(e_room, e_kind, e_author, e_id) WITH ORDINALITY AS given (room, kind, author, id, nth)
        LEFT JOIN events AS old
            ON old.room_id = ids[given.room] AND old.author = given.author AND old.id = given.id;
    FOR i IN 1 .. cardinality(c_event) LOOP
        place := c_event[i];
        IF seqs[place] = 0 AND whys[place] = 0 THEN
            IF c_of[i] IS NULL THEN     -- makes the room
                IF heads[e_room[place]] > 0 THEN
                    whys[place] := {NOT_NEW};
                END IF;
            ELSIF c_version[i] <> coalesce(
                (SELECT version FROM states WHERE room_id = ids[e_room[place]] AND seq = c_of[i]), 0
            ) OR NOT EXISTS (SELECT FROM events WHERE room_id = ids[e_room[place]] AND seq = c_of[i]) THEN
                whys[place] := {CHANGED};
            END IF;
        END IF;
    END LOOP;

    -- All in one pass: joins by number would take the square of their number.
    WITH numbered AS MATERIALIZED (
        SELECT nth, room, kind, author, id, at_ms, tail, words, accepted,
            heads[room] + count(*) FILTER (WHERE accepted) OVER (PARTITION BY room ORDER BY nth) AS seq
        FROM (
            SELECT given.*, seqs[nth] = 0 AND whys[nth] = 0 AND kind IS NOT NULL AS accepted
            FROM unnest(e_room, e_kind, e_author, e_id, e_at_ms, e_tail, e_words)
                WITH ORDINALITY AS given (room, kind, author, id, at_ms, tail, words, nth)
        ) AS given
    ), added AS (
        INSERT INTO events (room_id, seq, kind, author, id, at_ms, body, words)
            SELECT ids[room], seq, kind, author, id, at_ms,
                '{{"type":"' || kind || '","room":' || r_json[room] || ',"seq":' || seq || tail,
                words::tsvector
            FROM numbered WHERE accepted
            RETURNING room_id, octet_length(body) AS size
    ), grown AS (
        UPDATE rooms SET head = head + count, size_bytes = size_bytes + size
            FROM (SELECT room_id, count(*), sum(size) AS size FROM added GROUP BY room_id) AS sums
            WHERE rooms.id = room_id
    )
    SELECT array_agg(CASE WHEN accepted THEN seq ELSE seqs[nth] END ORDER BY nth) INTO seqs FROM numbered;

    -- What the stored ones bring about.
    IF cardinality(c_event) > 0 THEN
        INSERT INTO states (room_id, seq, version, body)
            SELECT ids[e_room[event]], of, seqs[event], body
            FROM unnest(c_event, c_of, c_body) AS changed (event, of, body)
            WHERE seqs[event] > 0 AND of IS NOT NULL
            ON CONFLICT (room_id, seq) DO UPDATE SET version = excluded.version, body = excluded.body;
        UPDATE events SET words = changed.words::tsvector
            FROM unnest(c_event, c_of, c_words, c_reindex) AS changed (event, of, words, reindex)
            WHERE reindex AND seqs[event] > 0 AND room_id = ids[e_room[event]] AND seq = of;
    END IF;
    FOR i IN 1 .. cardinality(f_event) LOOP
        place := f_event[i];
        IF seqs[place] > 0 OR seqs[place] = 0 AND whys[place] = 0 THEN
            IF f_value[i] IS NULL THEN
                DELETE FROM facts WHERE room_id = ids[e_room[place]] AND name = f_name[i];
            ELSE
                INSERT INTO facts (room_id, name, value) VALUES (ids[e_room[place]], f_name[i], f_value[i])
                    ON CONFLICT (room_id, name) DO UPDATE SET value = excluded.value;
            END IF;
            versions[e_room[place]] := before[e_room[place]] + 1;
        END IF;
    END LOOP;
    IF versions <> before THEN
        UPDATE rooms SET version = changed.version FROM unnest(ids, versions) AS changed (id, version)
            WHERE rooms.id = changed.id AND rooms.version <> changed.version;
    END IF;
    IF cardinality(a_event) > 0 THEN
        INSERT INTO audit (at_ms, actor, action, room, target, detail)
            SELECT at_ms, actor, action, room, target, detail
            FROM unnest(a_event, a_at_ms, a_actor, a_action, a_room, a_target, a_detail)
                WITH ORDINALITY AS entry (event, at_ms, actor, action, room, target, detail, nth)
            WHERE seqs[event] > 0 ORDER BY nth;
    END IF;

    done_result := seqs || whys || before || versions;
    UPDATE writers SET number = batch, result = done_result, used_at = now() WHERE id = writer;
    RETURN done_result;
END $$;
"""

ARGUMENTS = 33
APPEND = f"SELECT append({', '.join(f'${number}' for number in range(1, ARGUMENTS + 1))})"
