"""What nodes share in the database: leases, slots, guests' names. Pure: SQL.

A node is alive as long as its lease holds, which the database's own clock measures. Each node acts on its
own slots alone: it gives away what is more than its share, and takes what is free. A slot that a living node
gives away stays its own until its next beat, so that nobody begins to send what it may still be sending.
"""

from fastchat.store.interface import SLOTS

NODES_1 = f"""
CREATE TABLE nodes (
    node text PRIMARY KEY,
    until timestamptz NOT NULL      -- when its lease ends
);
CREATE TABLE slots (                -- whose work the events of the rooms in a slot are
    slot integer PRIMARY KEY,
    node text,                      -- null: nobody's
    leaving boolean NOT NULL DEFAULT false  -- it gives it away with its next beat
);
INSERT INTO slots (slot) SELECT generate_series(0, {SLOTS - 1});
CREATE TABLE claims (               -- guests' names
    key text COLLATE "C" PRIMARY KEY,
    node text                       -- null: its node has died, and the guest's rooms are still there
);
CREATE INDEX claims_by_node ON claims (node);

-- Everything below holds this lock: two beats at once would share out the same slots.
CREATE FUNCTION renew(me text, lease_s double precision) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('fastchat'), hashtext('nodes'));
    SELECT until > clock_timestamp() INTO held FROM nodes WHERE node = me;
    INSERT INTO nodes VALUES (me, clock_timestamp() + make_interval(secs => lease_s))
        ON CONFLICT (node) DO UPDATE SET until = excluded.until;
    IF held IS FALSE THEN
        UPDATE claims SET node = NULL WHERE node = me;
    END IF;
    RETURN coalesce(held, false);
END $$;

-- Answers whether the lease still held, who lives, what is this node's, and which guests are to be forgotten.
CREATE FUNCTION beat(
    me text, lease_s double precision,
    OUT renewed boolean, OUT living text[], OUT own integer[], OUT ended text[]
) LANGUAGE plpgsql AS $$
DECLARE
    share integer;
    held integer;
BEGIN
    renewed := renew(me, lease_s);
    DELETE FROM nodes WHERE until <= clock_timestamp();
    UPDATE claims SET node = NULL
        WHERE node IS NOT NULL AND NOT EXISTS (SELECT FROM nodes WHERE nodes.node = claims.node);
    UPDATE slots SET node = NULL, leaving = false
        WHERE leaving AND node = me
        OR node IS NOT NULL AND NOT EXISTS (SELECT FROM nodes WHERE nodes.node = slots.node);
    -- Those that have most are the ones that may have one more than others: so the fewest move.
    SELECT {SLOTS} / count(*) OVER ()
            + (row_number() OVER by_most <= {SLOTS} % count(*) OVER ())::integer, has
        INTO share, held
        FROM (
            SELECT nodes.node, count(slots.node) FILTER (WHERE NOT leaving) AS has
            FROM nodes LEFT JOIN slots USING (node) GROUP BY nodes.node
        ) AS each
        WINDOW by_most AS (ORDER BY has DESC, node)
        ORDER BY node = me DESC LIMIT 1;
    UPDATE slots SET leaving = true WHERE slot IN (
        SELECT slot FROM slots WHERE node = me ORDER BY slot DESC LIMIT greatest(held - share, 0)
    );
    UPDATE slots SET node = me WHERE slot IN (
        SELECT slot FROM slots WHERE node IS NULL ORDER BY slot LIMIT greatest(share - held, 0)
    );
    SELECT array_agg(node ORDER BY node) INTO living FROM nodes;
    SELECT coalesce(array_agg(slot ORDER BY slot), '{{}}') INTO own
        FROM slots WHERE node = me AND NOT leaving;
    SELECT coalesce(array_agg(key), '{{}}') INTO ended FROM claims WHERE node IS NULL;
END $$;

-- Answers those that others have. A node takes nothing that it cannot keep: so its lease is renewed, too.
CREATE FUNCTION claim(
    me text, lease_s double precision, keys text[], OUT renewed boolean, OUT taken text[]
) LANGUAGE plpgsql AS $$
BEGIN
    renewed := renew(me, lease_s);
    INSERT INTO claims (key, node)
        SELECT DISTINCT asked.key, me FROM unnest(keys) AS asked (key) ON CONFLICT DO NOTHING;
    taken := ARRAY(
        SELECT claims.key FROM claims WHERE claims.key = ANY (keys) AND claims.node IS DISTINCT FROM me
    );
END $$;

-- A room with everything in it.
CREATE FUNCTION forget(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
BEGIN
    SELECT array_agg(id) INTO ids FROM (
        SELECT id FROM rooms WHERE name = ANY (names) ORDER BY name FOR UPDATE
    ) AS locked;
    DELETE FROM events WHERE room_id = ANY (ids);
    DELETE FROM states WHERE room_id = ANY (ids);
    DELETE FROM facts WHERE room_id = ANY (ids);
    DELETE FROM directs WHERE room_id = ANY (ids);
    DELETE FROM marks WHERE room_id = ANY (ids);
    DELETE FROM waiting WHERE room_id = ANY (ids);
    DELETE FROM rooms WHERE id = ANY (ids);
END $$;
CREATE INDEX rooms_of_guests ON rooms (name) WHERE name LIKE '@%~%';
"""
