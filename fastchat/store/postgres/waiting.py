"""What waits for a broker, in the database. Pure: SQL.

A room that has events which no broker has confirmed has a row in ``waiting``: most rooms have none, so that
it is quick to say what waits. A trigger adds the row, and it is there only from the first ``begin_sending``
on: who has no broker pays nothing.

``sent`` locks the rooms whose rows it deletes: an append that is under way, and saw the row, has ended then.
"""

WAITING_1 = """
-- As zlib.crc32(name.encode()) % 256, for the rooms that are there and all that come.
CREATE FUNCTION slot_of(name text) RETURNS integer LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    bytes bytea := convert_to(name, 'UTF8');
    crc bigint := 4294967295;
BEGIN
    FOR place IN 0 .. length(bytes) - 1 LOOP
        crc := crc # get_byte(bytes, place);
        FOR bit IN 1 .. 8 LOOP
            crc := CASE WHEN crc & 1 = 1 THEN (crc >> 1) # 3988292384 ELSE crc >> 1 END;
        END LOOP;
    END LOOP;
    RETURN ((crc # 4294967295) & 255)::integer;
END $$;

ALTER TABLE rooms ADD COLUMN slot integer NOT NULL GENERATED ALWAYS AS (slot_of(name)) STORED;
CREATE TABLE waiting (
    room_id bigint PRIMARY KEY,
    slot integer NOT NULL,
    published bigint NOT NULL       -- seq of the newest event that a broker has confirmed
);
CREATE TABLE notices (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot integer NOT NULL,
    at_ms bigint NOT NULL,
    body text NOT NULL
);
CREATE TABLE outbox (               -- one row
    begun boolean NOT NULL DEFAULT false,
    notices bigint NOT NULL DEFAULT 0,  -- how many wait
    dropped bigint NOT NULL DEFAULT 0   -- since ever
);
INSERT INTO outbox DEFAULT VALUES;

CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

CREATE FUNCTION wait_for_broker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM waiting WHERE room_id = NEW.id) THEN
        INSERT INTO waiting (room_id, slot, published) VALUES (NEW.id, NEW.slot, OLD.head)
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION begin_sending() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT begun FROM outbox) THEN
        RETURN;
    END IF;
    -- Several nodes may begin at once.
    IF (SELECT begun FROM outbox FOR UPDATE) THEN
        RETURN;
    END IF;
    CREATE TRIGGER rooms_wait AFTER UPDATE OF head ON rooms
        FOR EACH ROW WHEN (NEW.head > OLD.head) EXECUTE FUNCTION wait_for_broker();
    UPDATE outbox SET begun = true;
END $$;

CREATE FUNCTION notify_of(slots integer[], bodies text[], keep bigint, lost bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    excess bigint;
BEGIN
    UPDATE outbox SET notices = notices + cardinality(slots), dropped = dropped + lost
        RETURNING notices - keep INTO excess;
    INSERT INTO notices (slot, at_ms, body)
        SELECT slot, now_ms(), body
        FROM unnest(slots, bodies) WITH ORDINALITY AS new (slot, body, place) ORDER BY place;
    IF excess > 0 THEN
        DELETE FROM notices WHERE number IN (SELECT number FROM notices ORDER BY number LIMIT excess);
        UPDATE outbox SET notices = notices - excess, dropped = dropped + excess;
    END IF;
END $$;

CREATE FUNCTION sent(names text[], seqs bigint[], numbers bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    removed bigint;
BEGIN
    PERFORM FROM rooms WHERE name = ANY (names) ORDER BY name FOR SHARE;
    UPDATE waiting SET published = least(seq, rooms.head)
        FROM unnest(names, seqs) AS confirmed (name, seq) JOIN rooms USING (name)
        WHERE waiting.room_id = rooms.id AND seq > published;
    DELETE FROM waiting USING rooms
        WHERE rooms.name = ANY (names) AND room_id = rooms.id AND published >= head;
    IF cardinality(numbers) > 0 THEN
        WITH gone AS (DELETE FROM notices WHERE number = ANY (numbers) RETURNING number)
            SELECT count(*) INTO removed FROM gone;
        UPDATE outbox SET notices = notices - removed;
    END IF;
END $$;
"""
